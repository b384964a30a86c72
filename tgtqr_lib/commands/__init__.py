"""One command a file: `arguments(parser)` declares its options, `run(options)` returns its exit code."""
