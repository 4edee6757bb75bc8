# Writing the image. The whole compressed image is fetched into memory first: pipes between programs cost
# more than the work itself on slow machines. The first MiB, which holds the partition table and the boot
# code, reaches the disk last and only when the digest is right: a disk that was half written never boots.

HEAD=1048576

# wipe DISK: no partition table at either end.
wipe() {
	end=$(($(disk_bytes "$1") - HEAD))
	dd if=/dev/zero of="/dev/$1" bs=$HEAD count=1 conv=fsync status=none &&
		dd if=/dev/zero of="/dev/$1" bs=$HEAD count=1 oflag=seek_bytes seek=$end conv=fsync status=none
}

# progress TEXT: on the console and to the lab, which may be too busy to listen.
progress() {
	say "$1"
	timeout 2 wget -q -O /dev/null --post-data "$1" "$LAB_URL/progress" > /dev/null 2>&1
}

# fetch_image: into /run/image.
fetch_image() {
	free=$(($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) * 1024))
	[ "$free" -gt $((${IMAGE_BYTES:-0} + 67108864)) ] ||
		fail "memory: the image has $IMAGE_BYTES bytes, $free bytes of memory are free"
	progress "fetching"
	curl --fail --silent --show-error --retry 3 --connect-timeout 20 --speed-limit 1000 --speed-time 120 \
		--output /run/image "$LAB_URL/image" || fail "fetching the image broke off"
}

# written PID: how far the process has come in what it writes to; nothing once it has ended.
written() {
	awk '/^pos:/ { print $2 }' "/proc/$1/fdinfo/1" 2>/dev/null
}

# watch_writing PID: a line every two seconds until it has ended.
watch_writing() {
	while sleep 2; do
		at=$(written "$1")
		[ -n "$at" ] || return
		progress "writing $((at * 100 / RAW_SIZE))%"
	done
}

# hold_head DISK PID: once the process is past it, take the first MiB away again. It was in memory only
# until then (the kernel writes back what is older than some seconds), and if not, it is gone from here on.
hold_head() {
	while at=$(written "$2") && [ -n "$at" ] && [ "$at" -lt $((4 * HEAD)) ]; do sleep 0.1; done
	dd if="/dev/$1" of=/run/head bs=$HEAD count=1 iflag=fullblock status=none &&
		dd if=/dev/zero of="/dev/$1" bs=$HEAD count=1 conv=fsync status=none
}

# unpack_to DISK
unpack_to() {
	zstd -dcq /run/image > "/dev/$1" &
	writer=$!
	hold_head "$1" $writer || return 1
	watch_writing $writer &
	wait $writer && sync
}

# write_image DISK
write_image() {
	fetch_image
	progress "writing 0%"
	wipe "$1" || fail "the disk cannot be written"
	b2sum /run/image > /run/digest &
	checker=$!
	unpack_to "$1" || fail "writing the image: unpacking or writing broke off"
	wait $checker
	read -r digest rest < /run/digest
	[ "$digest" = "$IMAGE_DIGEST" ] || fail "digest: the image arrived as $(echo "$digest" | cut -c1-16), not $(echo "$IMAGE_DIGEST" | cut -c1-16)"
	rm /run/image
	dd if=/run/head of="/dev/$1" bs=$HEAD conv=fsync status=none || fail "writing the partition table"
	say "writing 100%"
}
