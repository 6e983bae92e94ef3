/**
 * A DHCP client for a network namespace: asks with a socket, sets up interface and default route. No tools.
 *
 * Path: guest_side → linux_dhcp → linux_socket, netdev, linux_tcp, environment.
 *
 * @module
 */

import { call, libc } from "../../devices/host/libc.ts";
import { LinuxSocket } from "../../devices/host/linux_socket.ts";
import { NetDevice } from "../../devices/host/netdev.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { setOption, SOL_SOCKET } from "../../devices/host/socket_fd.ts";
import { setUpNetns } from "../../devices/host/netns_setup.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, type DhcpMessage } from "../../kernel/wire/dhcp.ts";
import { askForLease, DHCP_ANSWER_MS, type Lease } from "../vmm/guests/model/dhcp.ts";
import type { LinuxLoop } from "./linux_tcp.ts";
import { TimedOut, within } from "./environment.ts";

const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;

/** Asks for a lease and sets everything up. Throws KernelError ETIMEDOUT without an answer. */
export async function linuxDhcp(
  loop: LinuxLoop,
  netns: Netns,
  client: { readonly device: string; readonly mac: Uint8Array; readonly xid: number },
): Promise<Lease> {
  const { device } = client;
  const socket = new LinuxSocket("udp", netns);
  try {
    setOption(socket.fd, { level: SOL_SOCKET, option: SO_BROADCAST, value: 1 }, "Cannot allow broadcasts");
    const name = new TextEncoder().encode(`${device}\0`);
    call(`Cannot bind to ${device}`, libc().setsockopt(socket.fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length));
    socket.bind("0.0.0.0", DHCP_CLIENT_PORT);
    loop.reactor.add(socket);
    const lease = await askForLease(client, (message, accept) => exchange(loop, socket, message, accept));
    netns.run(() => setAddress(device, `${lease.address}/${lease.prefix}`));
    setUpNetns(netns.path, { device, gateway: lease.router });
    return lease;
  } finally {
    socket.close();
  }
}

async function exchange(
  loop: LinuxLoop,
  socket: LinuxSocket,
  message: Uint8Array,
  accept: (bytes: Uint8Array) => DhcpMessage | null,
): Promise<DhcpMessage | null> {
  const found = Promise.withResolvers<DhcpMessage>();
  socket.onMessage = ({ bytes }) => {
    const answer = accept(bytes);
    if (answer !== null) found.resolve(answer);
  };
  socket.sendTo(message, "255.255.255.255", DHCP_SERVER_PORT);
  try {
    return await within(loop.clock, DHCP_ANSWER_MS, "answer of a DHCP server", found.promise);
  } catch (error) {
    if (error instanceof TimedOut) return null;
    throw error;
  }
}

function setAddress(device: string, address: string): void {
  const netdev = new NetDevice(device);
  try {
    netdev.addAddress(address);
  } finally {
    netdev.close();
  }
}
