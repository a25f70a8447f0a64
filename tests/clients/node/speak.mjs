// Plays cells of the SDK matrix (tests/clients/matrix.py) with the Node SDKs.
//
// Reads one JSON document on standard input: {base, key, picture, result, cells: [{client, model,
// question, case, stream}]}. Prints one JSON line a cell, in their order: what the SDK showed its
// user, or the error that it raised. Whether that is right is not decided here.

import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { ApiError, GoogleGenAI } from "@google/genai";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const City = z.object({ name: z.string(), people: z.number().int() });
const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const TIMEOUT = 30_000;

// Each speaker: `say` makes a turn of the user, `ask` asks with a history and tells what came back
// as {text, reason, usage, calls, parsed, turns}, `answer` makes the turns of a tool's result.

class Chat {
  constructor(base, key) {
    const options = { baseURL: base + "/v1", apiKey: key, maxRetries: 0, timeout: TIMEOUT };
    this.client = new OpenAI(options);
  }

  say(text, picture) {
    if (!picture) return { role: "user", content: text };
    const shown = { type: "image_url", image_url: { url: "data:image/png;base64," + picture } };
    return { role: "user", content: [{ type: "text", text }, shown] };
  }

  async ask({ model, history, tools, structured, stream }) {
    const asked = { model, messages: history, max_completion_tokens: 500 };
    if (tools) asked.tools = [{ type: "function", function: { name: "weather", parameters: SCHEMA } }];
    if (structured) asked.response_format = zodResponseFormat(City, "city");
    const completions = this.client.chat.completions;
    const usage = { stream_options: { include_usage: true } };
    const got = stream
      ? await completions.stream({ ...asked, ...usage }).finalChatCompletion()
      : structured
        ? await completions.parse(asked)
        : await completions.create(asked);
    const { message, finish_reason } = got.choices[0];
    const calls = (message.tool_calls ?? []).map((call) => ({
      id: call.id,
      name: call.function.name,
      arguments: JSON.parse(call.function.arguments),
    }));
    return {
      text: message.content ?? "",
      reason: { stop: "stop", tool_calls: "calls" }[finish_reason] ?? finish_reason,
      usage: [got.usage.prompt_tokens, got.usage.completion_tokens],
      calls,
      parsed: message.parsed ?? null,
      turns: [message],
    };
  }

  answer(calls, result) {
    return calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: result }));
  }
}

class Responses extends Chat {
  say(text, picture) {
    if (!picture) return { role: "user", content: text };
    const shown = {
      type: "input_image",
      image_url: "data:image/png;base64," + picture,
      detail: "auto",
    };
    return { role: "user", content: [{ type: "input_text", text }, shown] };
  }

  async ask({ model, history, tools, structured, stream }) {
    const asked = { model, input: history, max_output_tokens: 500, store: false };
    if (tools)
      asked.tools = [{ type: "function", name: "weather", parameters: SCHEMA, strict: true }];
    if (structured) asked.text = { format: zodTextFormat(City, "city") };
    const responses = this.client.responses;
    const got = stream
      ? await responses.stream(asked).finalResponse()
      : structured
        ? await responses.parse(asked)
        : await responses.create(asked);
    // The SDK hands a failed response out like any other.
    if (got.status === "failed") throw new OpenAI.OpenAIError(got.error.message);
    const calls = got.output
      .filter((item) => item.type === "function_call")
      .map((item) => ({
        id: item.call_id,
        name: item.name,
        arguments: JSON.parse(item.arguments),
      }));
    return {
      text: got.output_text ?? "",
      reason: got.status !== "completed" ? got.status : calls.length ? "calls" : "stop",
      usage: [got.usage.input_tokens, got.usage.output_tokens],
      calls,
      parsed: got.output_parsed ?? null,
      turns: got.output.map(({ parsed_arguments, ...item }) => item),
    };
  }

  answer(calls, result) {
    return calls.map((call) => ({
      type: "function_call_output",
      call_id: call.id,
      output: result,
    }));
  }
}

class Messages {
  constructor(base, key) {
    this.client = new Anthropic({ baseURL: base, apiKey: key, maxRetries: 0, timeout: TIMEOUT });
  }

  say(text, picture) {
    if (!picture) return { role: "user", content: text };
    const source = { type: "base64", media_type: "image/png", data: picture };
    return { role: "user", content: [{ type: "image", source }, { type: "text", text }] };
  }

  async ask({ model, history, tools, structured, stream }) {
    const asked = { model, messages: history, max_tokens: 500 };
    if (tools) asked.tools = [{ name: "weather", input_schema: SCHEMA }];
    if (structured) asked.output_config = { format: zodOutputFormat(City) };
    const messages = this.client.messages;
    const got = stream
      ? await messages.stream(asked).finalMessage()
      : structured
        ? await messages.parse(asked)
        : await messages.create(asked);
    const texts = got.content.filter((block) => block.type === "text").map((block) => block.text);
    return {
      text: texts.join(""),
      reason: { end_turn: "stop", tool_use: "calls" }[got.stop_reason] ?? got.stop_reason,
      usage: [got.usage.input_tokens, got.usage.output_tokens],
      calls: got.content
        .filter((block) => block.type === "tool_use")
        .map((block) => ({ id: block.id, name: block.name, arguments: block.input })),
      parsed: got.parsed_output ?? null,
      turns: [{ role: "assistant", content: got.content }],
    };
  }

  answer(calls, result) {
    const content = calls.map((call) => ({
      type: "tool_result",
      tool_use_id: call.id,
      content: result,
    }));
    return [{ role: "user", content }];
  }
}

class Gemini {
  constructor(base, key) {
    const httpOptions = { baseUrl: base, timeout: TIMEOUT };
    this.client = new GoogleGenAI({ apiKey: key, httpOptions });
  }

  say(text, picture) {
    const shown = picture ? [{ inlineData: { mimeType: "image/png", data: picture } }] : [];
    return { role: "user", parts: [{ text }, ...shown] };
  }

  async ask({ model, history, tools, structured, stream }) {
    const config = { maxOutputTokens: 500 };
    if (tools)
      config.tools = [{ functionDeclarations: [{ name: "weather", parametersJsonSchema: SCHEMA }] }];
    if (structured) {
      config.responseMimeType = "application/json";
      config.responseJsonSchema = z.toJSONSchema(City);
    }
    const asked = { model, contents: history, config };
    const chunks = [];
    if (stream)
      for await (const chunk of await this.client.models.generateContentStream(asked))
        chunks.push(chunk);
    else chunks.push(await this.client.models.generateContent(asked));
    const parts = chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
    const text = parts.map((part) => (part.thought ? "" : (part.text ?? ""))).join("");
    const calls = parts
      .filter((part) => part.functionCall)
      .map(({ functionCall: call }) => ({ id: call.id, name: call.name, arguments: call.args }));
    const last = chunks.at(-1);
    const ended = last.candidates?.[0]?.finishReason ?? "none";
    return {
      text,
      reason: ended !== "STOP" ? ended : calls.length ? "calls" : "stop",
      usage: [last.usageMetadata?.promptTokenCount, last.usageMetadata?.candidatesTokenCount],
      calls,
      parsed: structured ? City.parse(JSON.parse(text)) : null,
      turns: [{ role: "model", parts }],
    };
  }

  answer(calls, result) {
    const parts = calls.map((call) => ({
      functionResponse: { id: call.id, name: call.name, response: { output: result } },
    }));
    return [{ role: "user", parts }];
  }
}

const ERRORS = [OpenAI.OpenAIError, Anthropic.AnthropicError, ApiError];

async function play(speaker, cell, picture, result) {
  const history = [speaker.say(cell.question, cell.case === "image" ? picture : undefined)];
  const asked = {
    model: cell.model,
    history,
    tools: cell.case === "tools",
    structured: cell.case === "structured",
    stream: cell.stream,
  };
  try {
    const told = await speaker.ask(asked);
    told.again = "";
    if (told.calls.length) {
      history.push(...told.turns, ...speaker.answer(told.calls, result));
      told.again = (await speaker.ask(asked)).text;
    }
    return told;
  } catch (error) {
    const own = ERRORS.some((kind) => error instanceof kind);
    const trouble = `${error.constructor.name}: ${error.message}`;
    return { status: error.status ?? 0, trouble, own };
  }
}

const SPEAKERS = { chat: Chat, responses: Responses, messages: Messages, gemini: Gemini };

let text = "";
for await (const piece of process.stdin) text += piece;
const { base, key, picture, result, cells } = JSON.parse(text);
const speakers = Object.fromEntries(
  Object.entries(SPEAKERS).map(([name, Speaker]) => [name, new Speaker(base, key)]),
);
for (const cell of cells) {
  const { turns, ...told } = await play(speakers[cell.client], cell, picture, result);
  console.log(JSON.stringify(told));
}
process.exit(0);
