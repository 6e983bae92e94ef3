/**
 * A TCP and its peer in every state: fixtures that are built on each other.
 *
 * @module
 */

import { type Fixture, OUR_PORT, PEER_PORT, TcpPeer } from "./peer.ts";

/** Announced. */
export function peerListen(fixture: Fixture = {}): TcpPeer {
  const peer = new TcpPeer(fixture);
  peer.window = fixture.window ?? 65_535;
  peer.conv = peer.host.announce(peer.host.conv(...(fixture.setup ?? [])), OUR_PORT);
  return peer;
}

/** A call at a listener: answered, and not yet acknowledged. */
export function peerCalling(fixture: Fixture = {}): TcpPeer {
  const peer = peerListen(fixture);
  peer.sends({ flags: "S", seq: 0, ...fixture.syn });
  peer.expects({ flags: "SA", seq: 0, ack: 1 });
  return peer;
}

/** SYN-SENT: ours is out. */
export function peerSynSent(fixture: Fixture = {}): TcpPeer {
  const peer = new TcpPeer(fixture);
  peer.window = fixture.window ?? 65_535;
  peer.conv = peer.host.connect(peer.host.conv(...(fixture.setup ?? [])), peer.addr, PEER_PORT, OUR_PORT);
  peer.expects({ seq: 0, ack: 0, length: 0 });
  return peer;
}

/** SYN-RECEIVED, by a simultaneous open. */
export function peerSynReceived(fixture: Fixture = {}): TcpPeer {
  const peer = peerSynSent(fixture);
  peer.sends({ flags: "S", seq: 0, ...fixture.syn });
  peer.expects({ flags: "SA", seq: 0, ack: 1 });
  return peer;
}

/** ESTABLISHED: we connected. */
export function peerEstablished(fixture: Fixture = {}): TcpPeer {
  const peer = peerSynSent(fixture);
  if (fixture.syn?.ts !== undefined) {
    peer.timestamps = true;
    peer.tsVal = fixture.syn.ts[0];
  }
  peer.sends({ flags: "SA", seq: 0, ack: 1, ...fixture.syn });
  peer.expects({ flags: "A", seq: 1, ack: 1, length: 0 });
  // The first segments are acknowledged at once; tests of delayed acknowledgments want the usual.
  peer.tcb.rcv.quick = 0;
  return peer;
}

/** FIN-WAIT-1. */
export function peerFinWait1(fixture: Fixture = {}): TcpPeer {
  const peer = peerEstablished(fixture);
  peer.ctl("shutdown wr");
  peer.expects({ flags: "FA", seq: 1, ack: 1 });
  return peer;
}

/** FIN-WAIT-2. */
export function peerFinWait2(fixture: Fixture = {}): TcpPeer {
  const peer = peerFinWait1(fixture);
  peer.sends({ seq: 1, ack: 2 });
  peer.expectsNothing();
  return peer;
}

/** CLOSING. */
export function peerClosing(fixture: Fixture = {}): TcpPeer {
  const peer = peerFinWait1(fixture);
  peer.sends({ flags: "FA", seq: 1, ack: 1 });
  peer.expects({ flags: "A", seq: 2, ack: 2 });
  return peer;
}

/** TIME-WAIT. */
export function peerTimeWait(fixture: Fixture = {}): TcpPeer {
  const peer = peerFinWait2(fixture);
  peer.sends({ flags: "FA", seq: 1, ack: 2 });
  peer.expects({ flags: "A", seq: 2, ack: 2 });
  return peer;
}

/** CLOSE-WAIT. */
export function peerCloseWait(fixture: Fixture = {}): TcpPeer {
  const peer = peerEstablished(fixture);
  peer.sends({ flags: "FA", seq: 1, ack: 1 });
  peer.expects({ flags: "A", seq: 1, ack: 2 });
  return peer;
}

/** LAST-ACK. */
export function peerLastAck(fixture: Fixture = {}): TcpPeer {
  const peer = peerCloseWait(fixture);
  peer.ctl("shutdown wr");
  peer.expects({ flags: "FA", seq: 1, ack: 2 });
  return peer;
}

/** TIME-WAIT, with a listener for its port. */
export function peerTimeWaitListen(fixture: Fixture = {}): TcpPeer {
  const peer = peerTimeWait(fixture);
  peer.host.announce(peer.host.conv(...(fixture.setup ?? [])), OUR_PORT);
  return peer;
}
