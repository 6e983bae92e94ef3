#!/bin/busybox sh
# Called by udhcpc: gives eth0 the lease of the DHCP server, and keeps all of it in /run/dhcp for a test to read.
env | sort >/run/dhcp
case $1 in
  deconfig)
    ip addr flush dev "$interface"
    ;;
  bound | renew)
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
    for address in $router; do ip route replace default via "$address" dev "$interface"; done
    : >/etc/resolv.conf
    [ -z "$domain" ] || echo "search $domain" >>/etc/resolv.conf
    for address in $dns; do echo "nameserver $address" >>/etc/resolv.conf; done
    [ -z "$hostname" ] || hostname "$hostname"
    ;;
esac
