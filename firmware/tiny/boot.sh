# The steps of start.sh.

say() { echo "lab-linux: $*" > "${CONSOLE:-/dev/console}"; }

# stop WHY: nothing that could be logged in to will come up.
stop() {
	say "failed: $*"
	while :; do sleep 3600; done
}

# By its path: the shell would take its own findfs, which does not know PARTUUID.
found_disk() { device=$(/sbin/findfs "$1" 2>/dev/null) && [ -b "$device" ]; }

# mount_disk PARTITION: at /disk; PARTITION as the kernel's root= has it.
mount_disk() {
	within 30 found_disk "$1" || stop "there is no partition $1"
	mount -t ext4 "$device" /disk || stop "$device cannot be mounted"
	hostname -F /disk/etc/hostname
}

# ask_for_addresses: every port that has a link asks by itself and holds nobody up.
ask_for_addresses() {
	ip link set lo up
	for nic in "$SYS"/class/net/*; do
		[ -e "$nic/device" ] || continue
		ip link set "${nic##*/}" up
		udhcpc -i "${nic##*/}" -b -q -t 20 -T 1 -s /lib/lab/dhcp.sh > /run/dhcp-"${nic##*/}" 2>&1 &
	done
}

serve_ssh() {
	dropbearconvert openssh dropbear /disk/etc/ssh/ssh_host_ed25519_key /run/host-key 2>/run/dropbear ||
		stop "the host key of this install cannot be read: $(cat /run/dropbear)"
	dropbear -r /run/host-key -s -j -k -P /run/dropbear.pid 2>>/run/dropbear || stop "SSH does not start: $(cat /run/dropbear)"
}

start() {
	load_modules
	ask_for_addresses
	mount_disk "$(argument root "$(cat /proc/cmdline)")"
	serve_ssh
	say "ready"
}
