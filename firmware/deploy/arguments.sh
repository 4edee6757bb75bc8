# Reading what the lab wants: boot arguments and install.env. Pure: files and text in, text out.

# argument NAME TEXT: the value of the last word NAME=VALUE in TEXT.
argument() {
	found=
	for word in $2; do
		case $word in "$1"=*) found=${word#*=} ;; esac
	done
	printf '%s' "$found"
}

# read_settings FILE: set the variables of the contract from lines KEY='value'. Never evaluated: any other
# key, and a value with a quote inside, is an error. Prints what is wrong.
read_settings() {
	number=0
	while IFS= read -r line || [ -n "$line" ]; do
		number=$((number + 1))
		case $line in '' | '#'*) continue ;; esac
		key=${line%%=*}
		value=${line#*=}
		case $value in "'"*"'") value=${value#?} value=${value%?} ;; esac
		case $value in *["'\`\$\\\""]*)
			echo "install.env line $number: a value that needs a shell"
			return 1 ;;
		esac
		case $key in
		SERVER | RELEASE | INSTALL_ID | NOW | TARGET_SERIAL | TARGET_WWN | ALLOWED | IMAGE_DIGEST | IMAGE_BYTES | \
			RAW_SIZE | ROOT_SIZE | ROOT_PARTUUID | DISK_GUID) export "$key=$value" ;;
		*)
			echo "install.env line $number: unknown key"
			return 1 ;;
		esac
	done < "$1"
	for key in SERVER RELEASE INSTALL_ID NOW ALLOWED IMAGE_DIGEST RAW_SIZE ROOT_SIZE ROOT_PARTUUID DISK_GUID; do
		eval "value=\${$key-}" # the names are the ones above, never the lab's
		[ -n "$value" ] || { echo "install.env: $key is missing"; return 1; }
	done
	[ -n "$TARGET_SERIAL$TARGET_WWN" ] || { echo "install.env: neither TARGET_SERIAL nor TARGET_WWN"; return 1; }
}
