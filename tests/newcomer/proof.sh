# shellcheck shell=bash
# After the page's last command: what lies in the kernel now that the phone has left, by iproute2.
echo
echo "newcomer: what the kernel holds of it, for the rest of its linger:"
states=$(sudo ip -s xfrm state list nokeys)
grep -E '^src|proto esp|\(bytes\)' <<<"$states" | sed 's/^/  /'
carrying() { # ADDRESS: SAs from it that have carried packets
    awk -v address="$1" '/^src/ { from = $2 }
        from == address && /\(bytes\), [1-9][0-9]*\(packets\)/ { count++ }
        END { print count + 0 }' <<<"$states"
}
inbound=$(carrying 192.0.2.17) outbound=$(carrying 192.0.2.1)
echo "newcomer: of the phone's SAs $inbound inbound and $outbound outbound ones have carried packets"
if [ "$inbound" = 0 ] || [ "$outbound" = 0 ]; then
    exit 1
fi
