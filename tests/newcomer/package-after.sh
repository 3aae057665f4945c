# shellcheck shell=bash
# Runs after the page's commands in the guest of make deb-trial, with the words of package-before.sh:
# what becomes of the Debian package until its purge.
# What the page itself copies stays the administrator's, and so does the user; dpkg-reconfigure and
# useradd leave the last version of what they change.
of_others='^/etc/(kamailio/(sad-ims|kamailio)\.cfg|(passwd|group|shadow|gshadow)-?|\.pwd\.lock)$'
ready() { sudo sadctl status | grep -q '^sad: ready$'; }
# Of whichever packet filter the kernel has.
guarded() { { sudo iptables-legacy-save; sudo nft list ruleset; } 2>/dev/null | grep -q -i sad; }
pid() { systemctl show --property MainPID --value sad.service; }
spis() { sudo ip xfrm state list nokeys | grep -o 'spi 0x[0-9a-f]*' | sort; }
arrived() { grep -c 'it has arrived' ~/phone.log; }
# The phone ends with an error long before this does (64*T1 without an answer).
wait_for_messages() {
    until [ "$(arrived)" -ge "$1" ]; do
        # (kill -0 is refused while sudo is root.)
        [ -e "/proc/$phone" ] || fail "the phone has ended: $(tail -5 ~/phone.log)"
        sleep 1
    done
}
step "upgrade with a registered phone: one restart, no SA changes, messages flow"
for id in $(sudo sadctl list | cut -c 1-12); do
    sudo sadctl release "$id" || fail "$id is not released"
done
mkfifo ~/keys
# shellcheck disable=SC2024 # the user's own files
sudo make phone <~/keys >~/phone.log 2>&1 &
phone=$!
exec 3>~/keys
wait_for_messages 1
sudo sadctl list
before=$(pid) states=$(spis)
[ "$(wc -l <<<"$states")" = 4 ] || fail "not the four SAs of a phone: $states"
echo "# mine" | sudo tee -a /etc/sad/sad.toml >/dev/null
dpkg-deb --raw-extract build/sad_*.deb ~/next
sed -i 's/^Version: .*/&.next/' ~/next/DEBIAN/control
dpkg-deb --root-owner-group --build ~/next ~/next.deb >/dev/null
sudo apt-get -o Dpkg::Options::=--force-confold install ~/next.deb || fail "it cannot be upgraded"
[[ $(dpkg-query --show --showformat '${Version}' sad) == *.next ]] || fail "no upgrade"
grep -q "# mine" /etc/sad/sad.toml || fail "the upgrade lost settings"
ready || fail "it is not ready after the upgrade"
guarded || fail "the guard's rules are not there"
[ "$(pid)" != "$before" ] || fail "the old daemon still runs"
[ "$(spis)" = "$states" ] || fail "the upgrade changed SAs: $states, now $(spis)"
echo >&3
wait_for_messages 2
exec 3>&-
wait "$phone" || fail "the phone: $(tail -5 ~/phone.log)"
tail -8 ~/phone.log
[ -z "$(comm -23 <(cat <<<"$states") <(spis))" ] || fail "the phone's set does not linger: $(spis)"

step "remove, while the kernel still holds a set: stopped, the kernel is cleared, settings stay"
sudo apt-get remove sad || fail "it cannot be removed"
systemctl --quiet is-active sad.service && fail "it still runs"
[ -e /etc/sad/sad.toml ] || fail "remove took the settings"
[ ! -e /usr/lib/sad ] || fail "remove left $(find /usr/lib/sad | head -3)"
[ ! -S /run/sad.sock ] || fail "the socket is still there"
[ -z "$(sudo ip xfrm state)$(sudo ip xfrm policy list nosock)" ] || fail "SAs or policies are left"
guarded && fail "the guard is left"

step "purge"
sudo apt-get purge sad || fail "it cannot be purged"
[ ! -e /etc/sad ] || fail "purge left /etc/sad"
[ ! -e /run/sad ] || fail "purge left /run/sad"
files >~/after
left=$(comm -13 ~/before ~/after | grep -E -v "$of_others")
[ -z "$left" ] || fail "purge left: $left"
step "installed, upgraded, removed, purged; nothing is left but the user"
