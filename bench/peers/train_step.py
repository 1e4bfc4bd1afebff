"""A DynamicViT training step in dvit and in PyTorch, in turn.

    train_step.py DVIT [--model deit-s] [--batch 16] [--keep 0.7] [--threads 2] [--rounds 3]

The same step on both sides: the masked student with three prediction modules, the dense teacher,
all losses, all gradients, clipping off, AdamW. PyTorch computes the authors' formulas in the way
that is fastest there: fused linear layers and layer norms, the teacher under no_grad with
scaled_dot_product_attention, masked softmax as tensor operations (no fused kernel has it), the fused
AdamW where PyTorch offers it on a CPU, channels-last patches, bf16 through autocast. Each side is a
process of its own that stays loaded; they are asked in turn, the median of each round's steps
counts, and ratios are within a round. Images are random numbers on both sides.

Needs PyTorch; prints a table in Markdown.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time

SHAPES = {"deit-t": (192, 12, 3), "deit-s": (384, 12, 6), "deit-b": (768, 12, 12)}
PATCHES, CLASSES, STAGES, EPS = 196, 1000, 3, 1e-6


def build(model, keep, precision):
    """(one step as a function, its batch size is the argument)."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    dim, depth, heads = SHAPES[model]

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

        def forward(self, x, policy):
            b, n, _ = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
            if policy is None:
                out = F.scaled_dot_product_attention(q, k, v)
            else:
                scores = (q @ k.transpose(-2, -1)) * (dim // heads) ** -0.5
                mask = policy.view(b, 1, 1, n)
                mask = mask + (1 - mask) * torch.eye(n).view(1, 1, n, n)
                scores = scores.float()
                weights = (scores - scores.amax(-1, keepdim=True)).exp() * mask.float()
                weights = (weights + EPS / n) / (weights.sum(-1, keepdim=True) + EPS)
                out = weights.to(v.dtype) @ v
            return self.proj(out.transpose(1, 2).reshape(b, n, dim))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
            self.attention = Attention()
            self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

        def forward(self, x, policy):
            x = x + self.attention(self.norm1(x), policy)
            return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    class Predictor(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())
            self.leave = nn.Sequential(nn.Linear(dim, dim // 2), nn.GELU(),
                                       nn.Linear(dim // 2, dim // 4), nn.GELU(),
                                       nn.Linear(dim // 4, 2), nn.LogSoftmax(-1))

        def forward(self, x, decision):
            x = self.enter(x)
            local, rest = x[..., :dim // 2], x[..., dim // 2:]
            mean = (rest * decision).sum(1, keepdim=True) / decision.sum(1, keepdim=True)
            return self.leave(torch.cat([local, mean.expand_as(local)], -1))

    class Model(nn.Module):
        def __init__(self, dynamic):
            super().__init__()
            self.embed = nn.Conv2d(3, dim, 16, 16)
            self.token = nn.Parameter(torch.zeros(1, 1, dim))
            self.position = nn.Parameter(torch.randn(1, PATCHES + 1, dim) * .02)
            self.blocks = nn.ModuleList(Block() for _ in range(depth))
            self.predictors = nn.ModuleList(Predictor() for _ in range(STAGES * dynamic))
            self.norm, self.head = nn.LayerNorm(dim, 1e-6), nn.Linear(dim, CLASSES)

        def forward(self, x):
            x = self.embed(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
            decision, policy, decisions = torch.ones(len(x), PATCHES, 1), None, []
            if self.predictors:
                policy = torch.ones(len(x), PATCHES + 1, 1)
            for i, block in enumerate(self.blocks):
                stage = i * (STAGES + 1) // depth
                if self.predictors and stage and i * (STAGES + 1) % depth == 0:
                    scores = self.predictors[stage - 1](x[:, 1:], decision)
                    hard = F.gumbel_softmax(scores.float(), hard=True)[..., :1]
                    decision = hard * decision
                    decisions.append(decision.mean(1))
                    policy = torch.cat([torch.ones(len(x), 1, 1), decision], 1)
                x = block(x, policy)
            x = self.norm(x)
            return self.head(x[:, 0]), x[:, 1:], decision, decisions

    student, teacher = Model(True), Model(False).eval()
    own = [p for n, p in student.named_parameters() if n not in ("token", "position")]
    optimizer = torch.optim.AdamW(own, lr=1e-5, weight_decay=.05, fused=True)

    def step(images, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            with torch.no_grad():
                goal, goal_tokens, _, _ = teacher(images)
            logits, tokens, decision, decisions = student(images)
        logits, tokens, goal = logits.float(), tokens.float(), goal.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=.1)
        loss = loss + 2 / STAGES * sum(((d - keep ** (s + 1)) ** 2).mean()
                                       for s, d in enumerate(decisions))
        loss = loss + .5 * F.kl_div(logits.log_softmax(-1), goal.log_softmax(-1), log_target=True,
                                    reduction="batchmean")
        mask = decision.detach()
        gap = ((tokens - goal_tokens.float()) ** 2 * mask).sum() / (mask.sum() * dim)
        optimizer.zero_grad()
        (loss + .5 * gap).backward()
        optimizer.step()

    return step


def work(arguments):
    """The PyTorch side: answers every line on standard input with the median of its steps."""
    import torch
    torch.set_num_threads(arguments.threads)
    step = build(arguments.model, arguments.keep, arguments.precision)
    images = torch.randn(arguments.batch, 3, 224, 224)
    labels = torch.arange(arguments.batch) % CLASSES
    step(images, labels)
    for _ in sys.stdin:
        times, start = [], time.monotonic()
        while len(times) < 3 or time.monotonic() - start < arguments.seconds:
            before = time.monotonic()
            step(images, labels)
            times.append(time.monotonic() - before)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"images_per_s": arguments.batch / statistics.median(times),
                          "peak_memory_bytes": peak}), flush=True)


def ask_dvit(arguments, precision):
    line = subprocess.run(
        [arguments.dvit, "bench", "--train", "--model", arguments.model, "--keep",
         str(arguments.keep), "--batch", str(arguments.batch), "--threads", str(arguments.threads),
         "--precision", precision, "--seconds", str(arguments.seconds), "--json", "--quiet"],
        check=True, capture_output=True, text=True).stdout
    return json.loads(line)


def compare(arguments, precision):
    worker = subprocess.Popen(
        [sys.executable, __file__, arguments.dvit, "--work", "--precision", precision, "--model",
         arguments.model, "--batch", str(arguments.batch), "--keep", str(arguments.keep),
         "--threads", str(arguments.threads), "--seconds", str(arguments.seconds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        worker.stdin.write("\n")
        worker.stdin.flush()
        theirs.append(json.loads(worker.stdout.readline()))
        ours.append(ask_dvit(arguments, precision))
    worker.stdin.close()
    worker.wait()
    return ours, theirs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dvit")
    parser.add_argument("--model", default="deit-s", choices=SHAPES)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--keep", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--precision", default="f32,bf16")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    import torch
    print("%s at keep %g, batch %d, %d threads; PyTorch %s, %s; medians of %d rounds\n" % (
        arguments.model, arguments.keep, arguments.batch, arguments.threads, torch.__version__,
        platform.processor() or platform.machine(), arguments.rounds))
    print("| precision | PyTorch images/s | dvit images/s | ratio | GFLOP/s | of matrix products "
          "alone | peak MB, PyTorch | dvit |")
    print("|---|---|---|---|---|---|---|---|")
    for precision in arguments.precision.split(","):
        ours, theirs = compare(arguments, precision)
        ratios = [o["images_per_s"] / t["images_per_s"] for o, t in zip(ours, theirs)]
        print("| %s | %.2f | %.2f | %.2f | %.0f | %.0f %% | %.0f | %.0f |" % (
            precision, statistics.median(t["images_per_s"] for t in theirs),
            statistics.median(o["images_per_s"] for o in ours), statistics.median(ratios),
            statistics.median(o["gflops"] for o in ours),
            100 * statistics.median(o["share_of_matmul_rate"] for o in ours),
            max(t["peak_memory_bytes"] for t in theirs) / 1e6,
            max(o["peak_memory_bytes"] for o in ours) / 1e6), flush=True)


if __name__ == "__main__":
    main()
