# shellcheck shell=bash
# Runs before the page's commands in the guest of make deb-trial: what is there without the package,
# and the words of package-after.sh. "packages" are those that the page installs.
step() { printf '\nnewcomer: %s\n' "$*"; }
fail() {
    echo "newcomer: $*"
    sudo journalctl --no-pager --lines 40 --unit sad.service --unit sad-guard.service
    exit 1
}
# Files of the machine, but for what dpkg, apt and systemd keep for themselves, and this trial's.
files() {
    sudo find / -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log \
        -o -path /var/lib/systemd -o -path /tmp -o -path /var/tmp -o -path /srv -o -path "$HOME" \) -prune \
        -o -print | sort
}
as_installed() {
    step "installed: nothing runs before there are settings"
    getent passwd sad >/dev/null || fail "the user sad was not made"
    systemctl --quiet is-active sad.service && fail "it was started before anybody filled in its settings"
    sudo sad --version || fail "sad is not on the path"
    [ -e /usr/share/man/man1/sadctl.1.gz ] || fail "no manual page"
    [ -e /usr/share/bash-completion/completions/sadctl ] || fail "no completion"
    compgen -G "/usr/lib/sad/venv/lib/python3*/site-packages/sad/__pycache__" >/dev/null || fail "not compiled"
}

step "what the page installs beside it"
# shellcheck disable=SC2154 # set by tests.newcomer
sudo apt-get install "${packages[@]}" >/dev/null || fail "the page's packages cannot be installed"
files >~/before
