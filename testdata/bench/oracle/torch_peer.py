"""Times a prefill of a random llama in torch float64 on the CPU.

    python torch_peer.py LAYERS WIDTH HEADS KV_HEADS FEED_FORWARD VOCAB TOKENS RUNS

Prints the median seconds of RUNS forward passes after one to warm up, and torch's
version and threads. The weights are in memory as float64 before the clock starts.
"""
import statistics
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

layers, width, heads, kv, ffn, vocab, tokens, runs = map(int, sys.argv[1:])
torch.set_default_dtype(torch.float64)
config = LlamaConfig(
    num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, num_key_value_heads=kv,
    intermediate_size=ffn, vocab_size=vocab, max_position_embeddings=2048, tie_word_embeddings=False,
)
model = LlamaForCausalLM(config).to(torch.float64).eval()
ids = torch.arange(tokens).reshape(1, -1) % vocab
times = []
with torch.no_grad():
    for _ in range(runs + 1):
        start = time.perf_counter()
        model(ids, use_cache=False)
        times.append(time.perf_counter() - start)
print(statistics.median(times[1:]), torch.__version__, torch.get_num_threads())
