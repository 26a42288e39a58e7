import { Hono } from "hono";

// Ponder wants an API file; the benchmark asks nothing of it.
export default new Hono();
