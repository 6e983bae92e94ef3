import { assertEquals } from "@std/assert";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { DEAD_MS, DNS_PATIENCE, DnsServers, SERVERS_MAX } from "./dns_servers.ts";

const [A, B, C] = ["9.9.9.1", "2001:db8::2", "9.9.9.3"].map(ip) as [ReturnType<typeof ip>, ...ReturnType<typeof ip>[]];

/** The order in which a question would go through all servers. */
function order(servers: DnsServers): string[] {
  const asked = [];
  for (let next = servers.next([]); next !== null; next = servers.next(asked)) asked.push(next);
  return asked.map(String);
}

Deno.test("The order is the list's, dead ones last; an answer makes a server alive", () => {
  const servers = new DnsServers([A, B!, C!]);
  assertEquals(order(servers), [A, B, C].map(String));
  servers.failed(A, 0);
  assertEquals(order(servers), [B, C, A].map(String));
  for (const one of [B!, C!]) servers.failed(one, 0);
  assertEquals(order(servers), [A, B, C].map(String), "all dead: as if none were");
  servers.answered(C!);
  assertEquals(order(servers), [C, A, B].map(String));
});

Deno.test("A dead server is offered for a try once in a while, never the one that was chosen anyway", () => {
  const servers = new DnsServers([A, B!]);
  servers.failed(A, 0);
  assertEquals([servers.takeProbe(B!, DEAD_MS - 1), servers.takeProbe(A, DEAD_MS)], [null, null]);
  assertEquals(servers.takeProbe(B!, DEAD_MS), A);
  assertEquals([servers.takeProbe(B!, DEAD_MS), servers.takeProbe(B!, 2 * DEAD_MS)], [null, A]);
});

Deno.test("A new list keeps what is known of those that stay, and has a bound", () => {
  const servers = new DnsServers([A, B!]);
  servers.failed(B!, 0);
  servers.set([B!, C!], DNS_PATIENCE);
  assertEquals([order(servers), servers.isDead(B!)], [[C, B].map(String), true]);
  servers.set(Array.from({ length: 20 }, (_, i) => ip(`9.9.9.${i + 1}`)), DNS_PATIENCE);
  assertEquals(servers.list.length, SERVERS_MAX);
  servers.failed(ip("8.8.8.8"), 0);
});
