#!/bin/sh
# Tar on standard input, ext4 on standard output. Runs as root of a user namespace, or as root.
# SLACK_MIB: free space to leave. MKE2FS_CONFIG: file system features.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
tar --extract --directory "$work/tree" --numeric-owner --preserve-permissions --xattrs --xattrs-include='*' --exclude='./dev/*'
chmod 0755 "$work/tree"
used=$(du --summarize --block-size=1M "$work/tree" | cut -f1)
inodes=$(find "$work/tree" | wc -l)
# Inode tables (256 bytes per 16 KiB), the journal and the file system's own blocks come on top.
size=$((used + used / 20 + inodes / 2000 + 48 + SLACK_MIB))
mke2fs -q -t ext4 -L lab-root -U "$ROOT_UUID" -E "hash_seed=$ROOT_UUID,root_owner=0:0" -J size=32 \
	-d "$work/tree" "$work/root.ext4" "${size}M" >&2
cat "$work/root.ext4"
