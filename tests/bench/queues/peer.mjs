// A peer queue, published and consumed at once: node peer.mjs bullmq|redis-smq SOCKET EVENTS. One JSON line out.
//
// The publisher is this process, the consumer a child of it, each as its manual advises for throughput: BullMQ adds in bulk and its worker has
// 256 jobs in hand; redis-smq has 512 messages on their way and ten consumers. The handler does nothing, the message is 200 bytes.
import { fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const [, , peer, path, count, role] = process.argv;
const events = Number(count);
const body = 'x'.repeat(200);
const promised = (call) => new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));

const bullmq = {
  async consume(seen) {
    const { Worker } = await import('bullmq');
    const worker = new Worker('bench', async () => seen(), {
      connection: { path, maxRetriesPerRequest: null }, concurrency: 256, removeOnComplete: { count: 0 },
    });
    await worker.waitUntilReady();
  },
  async prepare() {
    const { Queue } = await import('bullmq');
    this.queue = new Queue('bench', { connection: { path }, defaultJobOptions: { removeOnComplete: true } });
    await this.queue.waitUntilReady();
  },
  async publish() {
    for (let sent = 0; sent < events;) {
      const jobs = [];
      for (; jobs.length < 512 && sent < events; sent++) jobs.push({ name: 'event', data: body });
      await this.queue.addBulk(jobs);
    }
  },
};

const smq = {
  async load() {
    const { ERedisConfigClient } = await import('redis-smq-common');
    const library = await import('redis-smq');
    library.Configuration.getSetConfig({ redis: { client: ERedisConfigClient.IOREDIS, options: { path } }, logger: { enabled: false } });
    return library;
  },
  async consume(seen) {
    const { Consumer } = await this.load();
    for (let i = 0; i < 10; i++) {
      const consumer = new Consumer();
      await promised((done) => consumer.run(done));
      await promised((done) => consumer.consume('bench', (_message, done) => { seen(); done(); }, done));
    }
  },
  async prepare() {
    const { Producer, ProducibleMessage, Queue, EQueueType, EQueueDeliveryModel } = await this.load();
    await promised((done) => new Queue().save('bench', EQueueType.FIFO_QUEUE, EQueueDeliveryModel.POINT_TO_POINT, done));
    this.message = () => new ProducibleMessage().setQueue('bench').setBody(body);
    this.producer = new Producer();
    await promised((done) => this.producer.run(done));
  },
  async publish() {
    let sent = 0;
    await Promise.all(Array.from({ length: 512 }, async () => {
      while (sent++ < events) await promised((done) => this.producer.produce(this.message(), done));
    }));
  },
};

const queue = { bullmq, 'redis-smq': smq }[peer];
if (role === 'consumer') {
  let seen = 0;
  await queue.consume(() => { if (++seen === events) process.send('done'); });
  process.send('ready');
} else {
  await queue.prepare();
  const child = fork(process.argv[1], [peer, path, count, 'consumer']);
  child.on('exit', (code) => { console.error(`the consumer ended with ${code}`); process.exit(1); });
  const heard = [];
  child.on('message', (word) => heard.push(word));
  const hear = async (word) => { while (!heard.includes(word)) await sleep(5); };
  await hear('ready');
  const began = process.hrtime.bigint();
  await queue.publish();
  await hear('done');
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  console.log(JSON.stringify({ peer, events, seconds, events_per_second: Math.round(events / seconds) }));
  child.removeAllListeners('exit');
  child.kill();
  process.exit(0);
}
