# The guest appliance's agent. Boot arguments: lab.name=NAME, lab.timeout=SECONDS (default 600, 0 = never).
# Its whole conversation is lines on the console that `console=` named: it begins with one line
# `lab-guest: ready NAME kernel RELEASE cpus N memory KIB hypervisor KIND`, and ends with `lab-guest: off WHY`.

# argument NAME DEFAULT TEXT: the value of the last word NAME=VALUE in TEXT.
argument() {
	found=$2
	for word in $3; do
		case $word in "$1"=*) found=${word#*=} ;; esac
	done
	printf '%s' "$found"
}

# hypervisor: what the kernel says it runs on.
hypervisor() {
	if [ -s "$SYS/hypervisor/type" ]; then
		cat "$SYS/hypervisor/type"
	elif grep -q '^flags.* hypervisor' "${PROC:-/proc}/cpuinfo"; then
		echo unnamed
	else
		echo none
	fi
}

say() { echo "lab-guest: $*"; }

# off WHY
off() {
	say "off $*"
	sync
	sleep 0.2
	poweroff -f
	while :; do sleep 3600; done
}

# answer LINE: what to do about one line of input; prints the reply, or fails when the guest shall go off.
answer() {
	case $1 in
	poweroff) return 1 ;;
	ping*) say "pong${1#ping}" ;;
	'') ;;
	*) say "unknown: $1" ;;
	esac
}

agent() {
	name=$(argument lab.name guest "$1")
	timeout=$(argument lab.timeout 600 "$1")
	memory=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)
	say "ready $name kernel $(uname -r) cpus $(nproc) memory $memory hypervisor $(hypervisor)"
	[ "$timeout" = 0 ] || (sleep "$timeout" && off timeout) &
	while read -r line; do
		answer "$(printf '%s' "$line" | tr -d '\r')" || off asked
	done
	# No input on this console: stay until the timeout.
	while :; do sleep 3600; done
}
