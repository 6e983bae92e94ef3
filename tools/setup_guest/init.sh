#!/bin/busybox sh
# Init of the test guest: loads the virtio modules, sets up eth0 as the kernel's command line says, and runs the
# commands that come over the serial line. See tools/vmm/guests/qemu/console.ts for the words on that line.
#
#   akarino.ip=10.0.2.15/24     address of eth0 (may be given more than once)
#   akarino.gateway=10.0.2.2    default route
#   akarino.dns=10.0.2.3        name server
#   akarino.mtu=1400            MTU of eth0
#   akarino.dhcp                ask for all of it by DHCP
#   akarino.limit=300           power off after so many seconds

/bin/busybox mkdir -p /proc /sys /dev /tmp /run /sbin /usr/bin /usr/sbin /etc
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
hostname guest

# Made by setup_guest in the order in which they need each other.
while read -r module; do insmod "/lib/modules/$module" || echo "akarino: no module $module"; done </lib/modules/order

ip link set lo up
ip link set eth0 up
for word in $(cat /proc/cmdline); do
  value=${word#*=}
  case $word in
    akarino.ip=*) ip addr add "$value" dev eth0 ;;
    akarino.mtu=*) ip link set eth0 mtu "$value" ;;
    akarino.dns=*) echo "nameserver $value" >>/etc/resolv.conf ;;
    akarino.gateway=*) gateway=$value ;;
    akarino.dhcp) dhcp=1 ;;
    akarino.limit=*) (sleep "$value"; poweroff -f) >/dev/null 2>&1 </dev/null & ;;
  esac
done
[ -z "$gateway" ] || ip route add default via "$gateway"
[ -z "$dhcp" ] || udhcpc -i eth0 -q -n -t 5 -T 1 -s /etc/udhcpc.sh

stty -echo -onlcr
echo "akarino: ready $(cut -d ' ' -f 1 /proc/uptime)"
while read -r number command; do
  echo "akarino: $number run"
  (eval "$command") </dev/null 2>&1
  status=$?
  echo
  echo "akarino: $number exit $status"
done
poweroff -f
