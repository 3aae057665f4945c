#!/bin/sh
# Makes a machine an edge node as README says: sad by its own install, then Kamailio with the
# hook. "make install DESTDIR=..." has laid everything into /srv/root.
set -eu

rm -rf /opt/sad
cp -a --no-preserve=ownership /srv/root/. /
install -m 644 /srv/sad/vagrant/provision/sad.toml /etc/sad/sad.toml
systemd-sysusers

hook=/opt/sad/share/kamailio
cp "$hook/sad-ims.cfg" /etc/kamailio/
# A guest without KVM is slow: what is 200 ms elsewhere takes seconds here.
sed -e 's#!_ACCESS4_!.*!g#!_ACCESS4_!10.20.0.10!g#' \
    -e 's#!_ACCESS6_!.*!g#!_ACCESS6_!2001:db8:20::10!g#' \
    -e 's#!_CORE_!.*!g#!_CORE_!10.30.0.10!g#' \
    -e 's#^sad.core_hosts = "[^"]*"#sad.core_hosts = "10.30.0.20/32"#' \
    -e 's#^sad.core_uri = "[^"]*"#sad.core_uri = "sip:10.30.0.20:4060"#' \
    -e 's#^sad.timeout_ms = "[^"]*"#sad.timeout_ms = "5000"#' \
    -e 's#^sad.linger = "[^"]*"#sad.linger = "3"#' \
    "$hook/example-ims.cfg" >/etc/kamailio/kamailio.cfg
usermod -aG sad kamailio

/opt/sad/bin/sad --check-config
systemctl daemon-reload
systemctl enable --quiet sad.socket sad-guard.service sad.service kamailio.service
systemctl restart sad-guard.service sad.service kamailio.service
/opt/sad/bin/sadctl status
