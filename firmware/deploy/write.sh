# Writing the image. The first MiB, which holds the partition table and the boot code, is written last
# and only when the digest is right: a disk that was half written never boots.

HEAD=1048576

# wipe DISK: no partition table at either end.
wipe() {
	end=$(($(disk_bytes "$1") - HEAD))
	dd if=/dev/zero of="/dev/$1" bs=$HEAD count=1 conv=fsync 2>&1 &&
		dd if=/dev/zero of="/dev/$1" bs=$HEAD count=1 oflag=seek_bytes seek=$end conv=fsync 2>&1
}

# written DISK: bytes written to it since the kernel started.
written() {
	awk '{ printf "%.0f\n", $7 * 512 }' "$SYS/block/$1/stat"
}

# watch_writing DISK: a line every two seconds until killed.
watch_writing() {
	from=$(written "$1")
	while sleep 2; do
		percent=$((($(written "$1") - from) * 100 / RAW_SIZE))
		[ "$percent" -lt 100 ] || percent=99
		say "writing $percent%"
		curl --silent --max-time 2 --data-binary "writing $percent%" "$LAB_URL/progress" > /dev/null 2>&1
	done
}

# stream DISK: fetch, check and unpack in one go; all but the first MiB goes to the disk.
stream() (
	set -o pipefail
	rm -f /run/check
	mkfifo /run/check
	b2sum < /run/check > /run/digest &
	checker=$!
	curl --fail --silent --show-error --connect-timeout 20 --speed-limit 1000 --speed-time 120 "$LAB_URL/image" |
		tee /run/check | zstd -dcq | {
		dd of=/run/head bs=$HEAD count=1 iflag=fullblock status=none &&
			dd of="/dev/$1" bs=4M iflag=fullblock oflag=seek_bytes,direct seek=$HEAD conv=fsync status=none
	}
	result=$?
	wait $checker
	exit $result
)

# write_image DISK
write_image() {
	say "writing 0%"
	wipe "$1" || fail "the disk cannot be written"
	watch_writing "$1" &
	watcher=$!
	stream "$1"
	result=$?
	kill $watcher
	wait $watcher 2>/dev/null
	[ $result = 0 ] || fail "writing the image: fetching, unpacking or writing broke off"
	read -r digest rest < /run/digest
	[ "$digest" = "$IMAGE_DIGEST" ] || fail "digest: the image arrived as $(echo "$digest" | cut -c1-16), not $(echo "$IMAGE_DIGEST" | cut -c1-16)"
	dd if=/run/head of="/dev/$1" bs=$HEAD conv=fsync status=none || fail "writing the partition table"
	say "writing 100%"
}
