# From a written image to this server's own system.

# own_partitions DISK: own ids, backup table at the disk's end, root as large as it shall be.
own_partitions() {
	sfdisk --dump "/dev/$1" > /run/table || return 1
	ESP_PARTUUID=$(cat /proc/sys/kernel/random/uuid)
	start=$(root_start < /run/table)
	old=$(cat "$SYS/block/$1/$(partition_node "$1" 3)/size")
	size=$(root_sectors "$(disk_bytes "$1")" "$start" "$old")
	own_table "$size" "$ESP_PARTUUID" "$(cat /proc/sys/kernel/random/uuid)" < /run/table > /run/own-table
	sfdisk --quiet --wipe never --wipe-partitions never --force "/dev/$1" < /run/own-table || return 1
	# sfdisk may write a fresh protective MBR; GRUB's boot code belongs in front of it.
	dd if=/run/head of="/dev/$1" bs=440 count=1 conv=notrunc,fsync status=none
}

re_read() { blockdev --rereadpt "/dev/$1" && [ -b "/dev/$(partition_node "$1" 3)" ]; }

# personalise DISK
personalise() {
	say "personalising"
	within 10 re_read "$1" || fail "the kernel does not see the written partitions"
	own_partitions "$1" || fail "the partition table cannot be written"
	within 10 re_read "$1" || fail "the kernel does not see the new partitions"
	root=/dev/$(partition_node "$1" 3)
	mkdir -p /mnt/root
	mount -t ext4 "$root" /mnt/root || fail "the written file system cannot be mounted"
	resize2fs "$root" || fail "the root file system cannot be grown"
	curl --fail --silent --show-error --retry 3 --max-time 60 --output /run/overlay.tar "$LAB_URL/overlay.tar" ||
		fail "overlay.tar cannot be fetched"
	tar -x -p -f /run/overlay.tar -C /mnt/root || fail "overlay.tar cannot be unpacked"
	sed -i -e "s/$IMAGE_ROOT_PARTUUID/$ROOT_PARTUUID/g" -e "s/$IMAGE_ESP_PARTUUID/$ESP_PARTUUID/g" \
		/mnt/root/etc/fstab /mnt/root/boot/grub/grub.cfg || fail "the boot configuration cannot be written"
	grep -q "$ROOT_PARTUUID" /mnt/root/boot/grub/grub.cfg || fail "the boot configuration does not name the root partition"
	umount /mnt/root || fail "the root file system cannot be unmounted"
	sync
}
