#!/bin/sh
# A hook in shell: ask sad which association protects a flow, and print its id.
# Use: hook.sh /run/sad.sock PEER PORT LOCAL PORT
# Exit status: 0 protected, 1 not, 2 sad is away (answer the UE with 503 then).
set -eu

flow=$(printf '{"peerAddress":"%s","peerPort":%s,"localAddress":"%s","localPort":%s}' \
    "$2" "$3" "$4" "$5")
reply=$(printf '{"method":"org.sipsad.Associations.Find","parameters":{"flow":%s}}\0' "$flow" |
    socat -t 1 - UNIX-CONNECT:"$1" 2>/dev/null | tr -d '\0') || exit 2
case $reply in
'') exit 2 ;;
'{"error"'*) exit 1 ;;
esac
printf '%s\n' "$reply" | sed 's/.*"outbound":{"id":"\([0-9a-f]*\)".*/\1/'
