# The whole install, step by step.

# The ids in every image; lab/media/disk_layout.py holds the same, a test compares them.
IMAGE_ESP_PARTUUID=1ab00000-0000-4000-8000-000000000002
IMAGE_ROOT_PARTUUID=1ab00000-0000-4000-8000-000000000003

show_disks() {
	echo "$1" | while IFS='|' read -r disk serial wwn bytes mark; do
		[ -z "$disk" ] || say "disk $disk serial=$serial wwn=$wwn size=$bytes $mark"
	done
}

# found_target: the target is there, and the disks are the same as at the look before.
found_target() {
	last=$table
	table=$(disk_table)
	[ "$table" = "$last" ] && [ -n "$(echo "$table" | matching_disks)" ]
}

main() {
	say "booted Linux $(uname -r), up $(cut -d' ' -f1 /proc/uptime) s"
	# The address of an install is a secret: a medium of ours brings it in a file, not on the command line.
	words="$(cat /proc/cmdline) $(cat /lab/arguments 2>/dev/null)"
	LAB_URL=$(argument lab.url "$words")
	mac=$(argument lab.mac "$words")
	[ -n "$LAB_URL" ] && [ -n "$mac" ] || fail "the boot arguments lab.url and lab.mac are not both there"
	load_modules
	bring_up "$mac"
	curl --fail --silent --show-error --retry 5 --retry-connrefused --max-time 30 --output /run/install.env "$LAB_URL/install.env" ||
		fail "install.env cannot be fetched"
	wrong=$(read_settings /run/install.env) || fail "$wrong"
	read_settings /run/install.env
	say "install $INSTALL_ID of $RELEASE on $SERVER"
	# The hardware clock takes its time, to a whole second; nothing here waits for it.
	date -u -s "@$NOW" && { hwclock -w -u || say "clock not set"; } &

	table=
	within 20 found_target
	show_disks "$table"
	reason=$(echo "$table" | why_not)
	[ -z "$reason" ] || refuse "$reason"
	target=$(echo "$table" | matching_disks | cut -d'|' -f1)
	say "target $target"
	write_image "$target"
	personalise "$target"
	say "verified digest $(echo "$IMAGE_DIGEST" | cut -c1-16)"
	post done "serial=$(disk_serial "$target")
digest=$IMAGE_DIGEST
" || fail "the lab does not take the report"
	say "done"
	power_off 0.3
}
