# Drivers and the network.

# load_modules: every driver that a device on this machine asks for, until no new device appears.
load_modules() {
	# By its path: the shell and xargs would take their own modprobe, which is slow and knows no zstd. No
	# device asks for a file system; it is loaded beside the drivers, and mount waits for it.
	/sbin/modprobe -q -a crc32c_generic ext4 2>/dev/null &
	seen=
	for round in 1 2 3; do
		now=$(new_aliases "$seen")
		[ -n "$now" ] || break
		seen="$seen
$now"
		echo "$now" | xargs -n 12 -P 4 /sbin/modprobe -q -a -b 2>/dev/null
	done
}

# new_aliases SEEN: what the devices on all buses ask for, a line each, without the lines in SEEN. By the
# buses: a walk through the whole of /sys/devices costs a second on a slow machine.
new_aliases() {
	cat "$SYS"/bus/*/devices/*/modalias 2>/dev/null | sort -u | awk -v seen="$1" '
		BEGIN { count = split(seen, lines, "\n"); for (i = 1; i <= count; i++) old[lines[i]] }
		!($0 in old)'
}

# nic_with_mac MAC: the interface's name.
nic_with_mac() {
	wanted=$(echo "$1" | tr 'A-F' 'a-f')
	for nic in "$SYS"/class/net/*; do
		[ "$(cat "$nic/address" 2>/dev/null)" = "$wanted" ] && [ -e "$nic/device" ] && { echo "${nic##*/}"; return; }
	done
}

# uptime_s: whole seconds since the kernel started; unlike the clock, nobody sets it.
uptime_s() { cut -d. -f1 /proc/uptime; }

# within SECONDS COMMAND...: run it until it succeeds, at most that long.
within() {
	end=$(($(uptime_s) + $1))
	shift
	until "$@"; do
		[ "$(uptime_s)" -lt "$end" ] || return 1
		sleep 0.2
	done
}

has_nic() { [ -n "$(nic_with_mac "$1")" ]; }
has_carrier() { [ "$(cat "/sys/class/net/$1/carrier" 2>/dev/null)" = 1 ]; }

# bring_up MAC: that port's link and its address by DHCP.
bring_up() {
	ip link set lo up
	within 20 has_nic "$1" || fail "no network port with MAC $1"
	NIC=$(nic_with_mac "$1")
	ip link set "$NIC" up
	within 40 has_carrier "$NIC" || fail "no link on $NIC ($1)"
	udhcpc -i "$NIC" -n -q -t 12 -T 2 -s /lib/lab/dhcp.sh || fail "no address by DHCP on $NIC ($1)"
	say "network $NIC $1 $(ip -4 -o addr show dev "$NIC" | awk '{print $4}')"
}
