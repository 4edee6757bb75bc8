# The partition table of the written disk, made this install's own. Pure: text in, text out.

# own_table NEW_ROOT_SECTORS ESP_UUID BIOS_UUID: from `sfdisk --dump` (standard input) to the script that
# `sfdisk` reads. The disk gets DISK_GUID, root (the third, last one) ROOT_PARTUUID and its new size; the
# header lines about the old end of the disk go, so that the backup table lies at its real end.
own_table() {
	sed -e '/^first-lba:/d' -e '/^last-lba:/d' -e '/^device:/d' \
		-e "s/^label-id:.*/label-id: $DISK_GUID/" \
		-e 's/^[^ ]* : start=/start=/' |
		awk -v root="$ROOT_PARTUUID" -v sectors="$1" -v esp="$2" -v bios="$3" '
			/^start=/ {
				part++
				uuid = part == 1 ? bios : part == 2 ? esp : root
				sub(/uuid=[0-9A-Fa-f-]*/, "uuid=" uuid)
				if (part == 3) sub(/size= *[0-9]+/, "size=" sectors)
			}
			{ print }'
}

# root_start: the first sector of the third partition in a dump (standard input).
root_start() {
	awk '/start=/ { part++; if (part == 3) { match($0, /start= *[0-9]+/); text = substr($0, RSTART + 6, RLENGTH - 6); print text + 0 } }'
}

# root_sectors DISK_BYTES START OLD: sectors for root: ROOT_SIZE where it fits, never less than OLD. A
# MiB at the end stays free for the backup table.
root_sectors() {
	most=$(($1 / 512 - 2048 - $2))
	most=$((most / 2048 * 2048))
	wanted=$((ROOT_SIZE / 512))
	[ "$wanted" -le "$most" ] || wanted=$most
	[ "$wanted" -ge "$3" ] || wanted=$3
	echo "$wanted"
}

# partition_node DISK NUMBER: its device name, whatever the naming rule of that kind of disk.
partition_node() {
	for entry in "$SYS/block/$1/$1"*; do
		[ "$(cat "$entry/partition" 2>/dev/null)" = "$2" ] && echo "${entry##*/}"
	done
}
