"""How much memory llama.cpp takes for a model: pure arithmetic from facts and settings.

`settings` says what decides and how llama.cpp rounds it, `cache` and `compute` price its buffers,
`memory` puts them together for a device and for the host, `projector` prices what turns images
into embeddings. Every formula names the file of llama.cpp it mirrors (build 11549, as embedded);
`tests/golden/llama_cpp` holds them against the engine's own answers.
"""
