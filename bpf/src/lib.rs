//! What runs in the kernel: capture plans, generated eBPF programs, probe links, rings.
