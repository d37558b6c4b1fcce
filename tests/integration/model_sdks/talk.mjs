// Talks to the model of its environment with the official SDKs, honestly and not, and writes down what came of it.
import { writeFileSync } from "node:fs";

const [api, modules, out] = process.argv.slice(2);
const model = process.env.TAGOUT_MODEL_NAME;
const results = {};

async function attempt(name, work) {
  try {
    results[name] = { ok: await work() };
  } catch (error) {
    results[name] = { status: error.status ?? null, code: error.headers?.get?.("x-tagout-denied") ?? String(error) };
  }
}

const tool = { type: "function", name: "shell", parameters: { type: "object", properties: {} } };

async function responses() {
  const { default: OpenAI } = await import(`${modules}/openai/index.mjs`);
  const client = new OpenAI({ maxRetries: 0 });
  const ask = (more) => client.responses.create({ model, input: "a question", ...more });
  const parts = (part) => ({ input: [{ role: "user", content: [part, { type: "input_text", text: "a question" }] }] });
  await attempt("plain", async () => (await ask({})).output_text);
  await attempt("tools", async () => (await ask({ tools: [tool], store: true, metadata: { a: "b" } })).output_text);
  await attempt("stream", async () => {
    let text = "";
    for await (const event of await ask({ stream: true })) {
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    return text;
  });
  for (const type of ["web_search", "file_search", "image_generation", "computer_use_preview", "local_shell_2"]) {
    await attempt(`tool ${type}`, () => ask({ tools: [{ type }] }));
  }
  await attempt("code interpreter", () => ask({ tools: [{ type: "code_interpreter", container: { type: "auto" } }] }));
  await attempt("mcp", () => ask({ tools: [{ type: "mcp", server_label: "x", server_url: "https://evil.example/mcp" }] }));
  await attempt("image url", () => ask(parts({ type: "input_image", image_url: "https://evil.example/a.png" })));
  await attempt("file url", () => ask(parts({ type: "input_file", file_url: "https://evil.example/a.pdf" })));
  await attempt("file id", () => ask(parts({ type: "input_file", file_id: "file-1" })));
  await attempt("previous", () => ask({ previous_response_id: "resp_1" }));
  await attempt("conversation", () => ask({ conversation: "conv_1" }));
  await attempt("prompt", () => ask({ prompt: { id: "pmpt_1" } }));
  await attempt("background", () => ask({ background: true }));
  await attempt("tier", () => ask({ service_tier: "priority" }));
  await attempt("other model", () => ask({ model: "gpt-other" }));
  await attempt("files", () => client.files.list());
  await attempt("models", () => client.models.list());
  await attempt("stored", () => client.responses.retrieve("resp_1"));
  await attempt("other key", () => new OpenAI({ maxRetries: 0, apiKey: "sk-other-0123456789" }).responses.create({ model, input: "x" }));
  const other = new OpenAI({ maxRetries: 0, organization: "org-other", project: "proj-other", defaultHeaders: { Cookie: "a=b", "X-Api-Key": "k" } });
  await attempt("other account", async () => (await other.responses.create({ model, input: "a question" })).output_text);
}

async function chat() {
  const { default: OpenAI } = await import(`${modules}/openai/index.mjs`);
  const client = new OpenAI({ maxRetries: 0 });
  const ask = (more) => client.chat.completions.create({ model, messages: [{ role: "user", content: "a question" }], ...more });
  await attempt("plain", async () => (await ask({})).choices[0].message.content);
  await attempt("tools", async () => (await ask({ tools: [{ type: "function", function: { name: "shell", parameters: tool.parameters } }] })).choices[0].message.content);
  await attempt("stream", async () => {
    let text = "";
    for await (const chunk of await ask({ stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
    return text;
  });
  await attempt("n", () => ask({ n: 2 }));
  await attempt("search", () => ask({ web_search_options: {} }));
  await attempt("tier", () => ask({ service_tier: "priority" }));
  await attempt("audio", () => ask({ modalities: ["text", "audio"], audio: { voice: "alloy", format: "wav" } }));
  const image = { type: "image_url", image_url: { url: "http://169.254.169.254/a.png" } };
  await attempt("image url", () => ask({ messages: [{ role: "user", content: [image] }] }));
  await attempt("file id", () => ask({ messages: [{ role: "user", content: [{ type: "file", file: { file_id: "file-1" } }] }] }));
  await attempt("other model", () => ask({ model: "gpt-other" }));
  await attempt("batches", () => client.batches.list());
  await attempt("embeddings", () => client.embeddings.create({ model, input: "x" }));
}

async function messages() {
  const { default: Anthropic } = await import(`${modules}/@anthropic-ai/sdk/index.mjs`);
  const client = new Anthropic({ maxRetries: 0 });
  const ask = (more) => client.messages.create({ model, max_tokens: 200, messages: [{ role: "user", content: "a question" }], ...more });
  await attempt("plain", async () => (await ask({})).content[0].text);
  await attempt("tools", async () => (await ask({ tools: [{ name: "shell", input_schema: tool.parameters }], metadata: { user_id: "u" } })).content[0].text);
  await attempt("stream", async () => {
    let text = "";
    for await (const event of await ask({ stream: true })) {
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") text += event.delta.text;
    }
    return text;
  });
  for (const type of ["web_search_20250305", "code_execution_20250522", "web_fetch_20250910"]) {
    await attempt(`tool ${type}`, () => ask({ tools: [{ type, name: type.split("_2")[0] }] }));
  }
  const content = (source) => ({ messages: [{ role: "user", content: [{ type: "image", source }] }] });
  await attempt("image url", () => ask(content({ type: "url", url: "https://evil.example/a.png" })));
  await attempt("file id", () => ask(content({ type: "file", file_id: "file_1" })));
  await attempt("mcp", () => client.beta.messages.create({ model, max_tokens: 9, messages: [{ role: "user", content: "x" }], mcp_servers: [{ type: "url", url: "https://evil.example/sse", name: "x" }] }));
  await attempt("container", () => client.beta.messages.create({ model, max_tokens: 9, messages: [{ role: "user", content: "x" }], container: "c_1" }));
  await attempt("tier", () => ask({ service_tier: "priority" }));
  await attempt("other model", () => ask({ model: "claude-other" }));
  await attempt("batches", () => client.messages.batches.list());
  await attempt("other key", () => new Anthropic({ maxRetries: 0, apiKey: "sk-other-0123456789" }).messages.create({ model, max_tokens: 9, messages: [{ role: "user", content: "x" }] }));
}

await { responses, chat, messages }[api]();
writeFileSync(out, JSON.stringify(results, null, 1));
