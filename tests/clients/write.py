"""Loads a pushed model the way people do, and prints what it writes. Usage: write.py MODEL TOKENS"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    ids = model.generate(torch.tensor([[1]]), do_sample=False, max_new_tokens=int(sys.argv[2]))
print(tokenizer.decode(ids[0], skip_special_tokens=True))
