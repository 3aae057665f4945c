#!/bin/sh
# Gives a machine its addresses on both links. usage: links.sh ACCESS4 CORE4
set -eu
host=${1##*.}

link() { # INTERFACE, ADDRESS...
    name=$1
    shift
    {
        printf '[Match]\nName=%s\n[Network]\nIPv6AcceptRA=no\nConfigureWithoutCarrier=yes\n' "$name"
        for address in "$@"; do
            printf '[Address]\nAddress=%s\nDuplicateAddressDetection=none\n' "$address"
        done
    } >"/etc/systemd/network/20-$name.network"
}

link eth1 "$1/24" "2001:db8:20::$host/64"
link eth2 "$2/24"
networkctl reload
networkctl up eth1 eth2
