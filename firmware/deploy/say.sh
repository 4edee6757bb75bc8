# What the deploy RAM OS says, and how it ends.

# say TEXT: one line on every console.
say() {
	echo "lab-deploy: $*"
	echo "<3>lab-deploy: $*" > "${KMSG:-/dev/kmsg}"
}

# post NAME TEXT: tell the lab; LAB_URL is empty until it is known.
post() {
	[ -n "$LAB_URL" ] || return 1
	curl --fail --silent --show-error --max-time 20 --retry 3 --retry-connrefused --data-binary "$2" "$LAB_URL/$1" > /dev/null
}

# refuse WHY: nothing was written, and nothing will be.
refuse() {
	say "refused: $*"
	post failed "refused: $*"
	power_off 3
}

# fail WHY: the install did not end well.
fail() {
	tail -n 3 /run/log 2>/dev/null | while read -r line; do
		case $line in lab-deploy:*) ;; *) say "said: $line" ;; esac
	done
	say "failed: $*"
	post failed "failed: $*"
	power_off 3
}

# power_off SECONDS: leave the console that long to be read.
power_off() {
	sync
	sleep "$1"
	poweroff -f
	sleep 60
	echo o > /proc/sysrq-trigger
	while :; do sleep 3600; done
}
