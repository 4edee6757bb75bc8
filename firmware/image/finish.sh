#!/bin/sh
# mmdebstrap customize hook: $1 is the tree. Turns installed packages into a bootable, secret-free system.
# SERVICES_OFF: units to mask.
set -eu
tree=$1
inside() { chroot "$tree" env LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

kernel=$(ls "$tree/lib/modules")
xen=$(cd "$tree/boot" && ls xen-*.gz 2>/dev/null | tail -n 1 || true)
version=${xen#xen-}
config=$tree/boot/grub/grub.cfg
sed -i -e "s/KERNEL_VERSION/$kernel/g" -e "s/XEN_FILE/$xen/g" -e "s/XEN_VERSION/${version%.gz}/g" "$config"

# BIOS: one core with all that grub.cfg uses (gzio: Xen comes gzipped). UEFI: the signed GRUB brings its own, except multiboot2.
mkdir -p "$tree/boot/grub/i386-pc" "$tree/boot/grub/x86_64-efi" "$tree/boot/efi"
inside grub-mkimage -O i386-pc -d /usr/lib/grub/i386-pc -p '(,gpt3)/boot/grub' -o /boot/grub/i386-pc/core.img \
	biosdisk part_gpt ext2 gzio normal configfile test echo regexp search serial terminal linux multiboot2 all_video reboot halt
cp "$tree/usr/lib/grub/i386-pc/boot.img" "$tree/boot/grub/i386-pc/"
cp "$tree"/usr/lib/grub/x86_64-efi/*.mod "$tree"/usr/lib/grub/x86_64-efi/*.lst "$tree/boot/grub/x86_64-efi/"

inside systemctl enable systemd-networkd.service
for unit in systemd-networkd-wait-online.service $SERVICES_OFF; do inside systemctl mask "$unit"; done
inside usermod -p '*' root
mkdir -p -m 0700 "$tree/root/.ssh"
ln -sf /usr/share/zoneinfo/Etc/UTC "$tree/etc/localtime"

# What makes one machine itself comes with each install; what the build left behind goes.
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/hostname" "$tree/var/lib/dbus/machine-id" "$tree/var/lib/systemd/random-seed"
: > "$tree/etc/machine-id"
rm -rf "$tree"/var/log/journal "$tree"/var/log/*.log "$tree"/var/log/apt/* "$tree"/var/cache/debconf/*-old \
	"$tree"/var/cache/ldconfig/* "$tree"/var/lib/dpkg/*-old "$tree"/initrd.img.old "$tree"/vmlinuz.old \
	"$tree"/etc/apt/apt.conf.d/99mmdebstrap "$tree"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
inside dpkg-query -W -f '${Package}\t${Version}\t${Installed-Size}\n' > "$tree/lab-packages.tsv"
