# Which disks there are, and which single one may be written. Pure: reads $SYS alone.

# trimmed: standard input without NULs and without blanks at either end.
trimmed() {
	tr -d '\000' | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//'
}

# disk_names: block devices that are whole disks with a size.
disk_names() {
	for block in "$SYS"/block/*; do
		name=${block##*/}
		case $name in loop* | ram* | zram* | sr* | fd* | md* | dm-* | nbd* | mtdblock*) continue ;; esac
		[ -e "$block/device" ] || continue
		[ "$(cat "$block/hidden" 2>/dev/null)" != 1 ] || continue
		[ "$(cat "$block/size")" -gt 0 ] || continue
		echo "$name"
	done
}

# disk_serial NAME: as the drive itself says it (NVMe and virtio in a file, SCSI and ATA in VPD page 0x80).
disk_serial() {
	block=$SYS/block/$1
	for file in "$block/serial" "$block/device/serial"; do
		if [ -s "$file" ]; then
			trimmed < "$file"
			return
		fi
	done
	# sysfs says size 0 of this file whatever is in it.
	if [ -r "$block/device/vpd_pg80" ]; then
		tail -c +5 "$block/device/vpd_pg80" | trimmed
	fi
}

# disk_wwn NAME: bare lower-case digits, without the kind before them; nothing where the drive has none.
disk_wwn() {
	for file in "$SYS/block/$1/wwid" "$SYS/block/$1/device/wwid"; do
		[ -s "$file" ] || continue
		case $(cat "$file") in naa.* | eui.* | 0x*) trimmed < "$file" | bare_wwn ;; esac
		return
	done
}

# bare_wwn: a WWN in any spelling as bare lower-case digits.
bare_wwn() {
	tr 'A-F' 'a-f' | sed -e 's/^naa\.//' -e 's/^eui\.//' -e 's/^0x//' -e 's/[:-]//g'
}

# disk_bytes NAME
disk_bytes() {
	echo $(($(cat "$SYS/block/$1/size") * 512))
}

# is_allowed SERIAL WWN: whether the lab may write to it at all (one entry of ALLOWED names it).
is_allowed() {
	for entry in $ALLOWED; do
		[ -n "$1" ] && [ "$entry" = "$1" ] && return 0
		[ -n "$2" ] && [ "$(echo "$entry" | bare_wwn)" = "$2" ] && return 0
	done
	return 1
}

# disk_table: a line per disk, NAME|SERIAL|WWN|BYTES|allowed or not allowed.
disk_table() {
	for disk in $(disk_names); do
		serial=$(disk_serial "$disk")
		wwn=$(disk_wwn "$disk")
		if is_allowed "$serial" "$wwn"; then mark=allowed; else mark='not allowed'; fi
		echo "$disk|$serial|$wwn|$(disk_bytes "$disk")|$mark"
	done
}

# matching_disks: the lines of a disk_table (standard input) that TARGET_SERIAL and TARGET_WWN name.
matching_disks() {
	target_wwn=$(printf '%s' "$TARGET_WWN" | bare_wwn)
	while IFS='|' read -r disk serial wwn bytes mark; do
		[ -z "$TARGET_SERIAL" ] || [ "$serial" = "$TARGET_SERIAL" ] || continue
		[ -z "$target_wwn" ] || [ "$wwn" = "$target_wwn" ] || continue
		echo "$disk|$serial|$wwn|$bytes|$mark"
	done
}

# why_not: from a disk_table (standard input), why no disk may be written; nothing when exactly one may.
why_not() {
	wanted="serial $TARGET_SERIAL"
	[ -n "$TARGET_SERIAL" ] || wanted="WWN $TARGET_WWN"
	matches=$(matching_disks)
	case $(echo "$matches" | grep -c .) in
	0) echo "no disk with $wanted"; return ;;
	1) ;;
	*) echo "$(echo "$matches" | grep -c .) disks with $wanted"; return ;;
	esac
	echo "$matches" | while IFS='|' read -r disk serial wwn bytes mark; do
		if [ "$mark" != allowed ]; then
			echo "disk with $wanted is not allowed to be erased"
		elif [ "$bytes" -lt "$RAW_SIZE" ]; then
			echo "disk too small: $disk has $bytes bytes, the image needs $RAW_SIZE"
		fi
	done
}
