"""Numbers of the kernel's user interface, each with the header it comes from.

Python's own ``socket`` constants are not used, so that pure modules need not import it.
"""

from typing import Final

# linux/socket.h
AF_INET: Final = 2
AF_INET6: Final = 10

# linux/in.h
IPPROTO_TCP: Final = 6
IPPROTO_UDP: Final = 17
IPPROTO_ESP: Final = 50

# linux/udp.h
UDP_ENCAP: Final = 100
UDP_ENCAP_ESPINUDP: Final = 2

# linux/sock_diag.h and linux/inet_diag.h
SOCK_DIAG_BY_FAMILY: Final = 20
SOCK_DESTROY: Final = 21
INET_DIAG_NOCOOKIE: Final = 0xFFFF_FFFF_FFFF_FFFF  # "whatever the cookie"
SKNLGRP_INET_TCP_DESTROY: Final = 1
SKNLGRP_INET6_TCP_DESTROY: Final = 3

# linux/netlink.h
NETLINK_SOCK_DIAG: Final = 4
NETLINK_XFRM: Final = 6
NLMSG_HDRLEN: Final = 16
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 0x1
NLM_F_MULTI: Final = 0x2
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_DUMP: Final = 0x300
NLMSGERR_ATTR_MSG: Final = 1
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11

# linux/xfrm.h: messages
XFRM_MSG_NEWSA: Final = 16
XFRM_MSG_DELSA: Final = 17
XFRM_MSG_GETSA: Final = 18
XFRM_MSG_NEWPOLICY: Final = 19
XFRM_MSG_DELPOLICY: Final = 20
XFRM_MSG_GETPOLICY: Final = 21
XFRM_MSG_ALLOCSPI: Final = 22
XFRM_MSG_ACQUIRE: Final = 23
XFRM_MSG_EXPIRE: Final = 24
XFRM_MSG_UPDPOLICY: Final = 25
XFRM_MSG_UPDSA: Final = 26
XFRM_MSG_POLEXPIRE: Final = 27
XFRM_MSG_FLUSHSA: Final = 28
XFRM_MSG_FLUSHPOLICY: Final = 29
XFRM_MSG_NEWAE: Final = 30
XFRM_MSG_GETAE: Final = 31
XFRM_MSG_NEWSADINFO: Final = 34
XFRM_MSG_GETSADINFO: Final = 35
XFRM_MSG_NEWSPDINFO: Final = 36
XFRM_MSG_GETSPDINFO: Final = 37
XFRM_MSG_MAPPING: Final = 38

# linux/xfrm.h: attributes
XFRMA_ALG_AUTH: Final = 1
XFRMA_ALG_CRYPT: Final = 2
XFRMA_ENCAP: Final = 4
XFRMA_TMPL: Final = 5
XFRMA_SA: Final = 6
XFRMA_POLICY: Final = 7
XFRMA_LTIME_VAL: Final = 9
XFRMA_REPLAY_VAL: Final = 10
XFRMA_REPLAY_THRESH: Final = 11
XFRMA_SRCADDR: Final = 13
XFRMA_LASTUSED: Final = 15
XFRMA_POLICY_TYPE: Final = 16
XFRMA_ALG_AEAD: Final = 18
XFRMA_ALG_AUTH_TRUNC: Final = 20
XFRMA_REPLAY_ESN_VAL: Final = 23

# linux/xfrm.h: attributes of NEWSADINFO and NEWSPDINFO
XFRMA_SAD_CNT: Final = 1
XFRMA_SAD_HINFO: Final = 2
XFRMA_SPD_INFO: Final = 1
XFRMA_SPD_HINFO: Final = 2
XFRMA_SPD_IPV4_HTHRESH: Final = 3
XFRMA_SPD_IPV6_HTHRESH: Final = 4

# linux/xfrm.h: multicast groups
XFRMNLGRP_ACQUIRE: Final = 1
XFRMNLGRP_EXPIRE: Final = 2
XFRMNLGRP_SA: Final = 3
XFRMNLGRP_POLICY: Final = 4
XFRMNLGRP_AEVENTS: Final = 5
XFRMNLGRP_MAPPING: Final = 8

# linux/xfrm.h: "no limit"
XFRM_INF: Final = 0xFFFF_FFFF_FFFF_FFFF
