#!/bin/busybox sh
# Everything before the login prompt: drivers, the disk, the network, SSH. Started once, by init.
export PATH=/sbin:/bin SYS=/sys
for part in arguments network boot; do
	. /lib/lab/$part.sh
done
start
