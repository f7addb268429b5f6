# An engine that hands out the trace it was given: engine.sh TRACE
cp candidate.safetensors "$1"
