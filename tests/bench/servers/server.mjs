// Peer servers of make bench-gateway, under node or bun: server.mjs http BODY, or server.mjs ws SIZE. Says {"port": N}.
// ws: each line on stdin, "N", sends N messages of SIZE bytes to everybody who is connected.
import { createInterface } from "node:readline";

const [what, text] = process.argv.slice(2);
const say = (port) => console.log(JSON.stringify({ port }));
const lines = (broadcast) => createInterface({ input: process.stdin }).on("line", (line) => broadcast(Number(line))).on("close", () => process.exit(0));
const json = { "Content-Type": "application/json" };

if (process.versions.bun && what === "http") {
  say(Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response(text, { headers: json }) }).port);
} else if (what === "http") {
  const { createServer } = await import("node:http");
  const server = createServer((_, response) => response.writeHead(200, { ...json, "Content-Length": text.length }).end(text));
  server.keepAliveTimeout = 600000;
  server.listen(0, "127.0.0.1", () => say(server.address().port));
} else if (process.versions.bun) {
  const message = "x".repeat(Number(text));
  const server = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("", { status: 426 })),
    websocket: { open: (socket) => socket.subscribe("all"), message() {}, idleTimeout: 0 },
  });
  lines((n) => { for (let i = 0; i < n; i++) server.publish("all", message); });
  say(server.port);
} else {
  const { WebSocketServer } = await import("ws");
  const message = "x".repeat(Number(text));
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => say(server.address().port));
  lines((n) => { for (const socket of server.clients) for (let i = 0; i < n; i++) socket.send(message, { binary: false }); });
}
if (what === "http") process.stdin.on("close", () => process.exit(0)).resume();
