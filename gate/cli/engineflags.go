package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
)

// engineFlags are an engine's keys as flags.
type engineFlags struct {
	cfg       spec.Engine
	env       []string
	gpuLayers int
	prove     bool
	precision string
}

// engineKeys lists the flags that belong to an engine, and which adapters have
// them; none means all.
var engineKeys = map[string][]string{
	"model": nil, "timeout": nil,
	"env": {"exec", "llamacpp", "transformers"}, "pass-env": {"exec", "llamacpp", "transformers"}, "dir": {"exec", "llamacpp"}, "retries": {"exec", "llamacpp", "transformers"},
	"path": {"trace"}, "precision": {"builtin"},
	"mode": {"llamacpp"}, "library": {"llamacpp"}, "headers": {"llamacpp"}, "compiler": {"llamacpp"},
	"backend": {"llamacpp"}, "gpu-layers": {"llamacpp"}, "flash-attention": {"llamacpp"},
	"kv-type": {"llamacpp"}, "threads": {"llamacpp", "transformers"}, "batch": {"llamacpp"}, "ubatch": {"llamacpp"},
	"decode": {"llamacpp", "transformers"}, "sublayers": {"llamacpp", "transformers", "builtin"}, "prove-capture": {"llamacpp", "transformers"}, "no-repack": {"llamacpp"},
	"python": {"transformers"}, "dtype": {"transformers"}, "device": {"transformers"}, "attention": {"transformers"},
	"trust-remote-code": {"transformers"},
}

// engineFlagNames lists the flags of engineKeys in order.
func engineFlagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := engineKeys[f.Name]; ok {
			names = append(names, f.Name)
		}
	})
	return names
}

func (e *engineFlags) add(cmd *cobra.Command) {
	f, c := cmd.Flags(), &e.cfg
	f.StringVarP(&c.Model, "model", "m", "", "the weights, a GGUF `FILE`; for transformers a Hugging Face folder")
	f.DurationVar(&c.Timeout, "timeout", 0, "kill the engine after this `TIME` (default 10m)")
	f.IntVar(&c.Retries, "retries", 0, "`N` times that a crash is tried again")
	f.StringArrayVar(&e.env, "env", nil, "`NAME=VALUE` to add to the engine's scrubbed environment")
	f.StringSliceVar(&c.PassEnv, "pass-env", nil, "`NAMES` of variables to pass through to the engine")
	f.StringVar(&c.Dir, "dir", "", "working `DIR` of the engine's command")
	f.StringVar(&c.Path, "path", "", "trace: the recorded `TRACE`")

	f.StringVar(&e.precision, "precision", "", "builtin: precision `PROFILE` to emulate, or PROFILE,FIELD=VALUE (default f64)")
	f.StringVar(&c.Mode, "mode", "", "llamacpp: `MODE` probe (default) or preload, which captures from the command behind --")
	f.StringVar(&c.Library, "library", "", "llamacpp: `DIR` of libllama and the ggml libraries (default those of the prefix LLAMA_CPP, or of an installed llama.cpp)")
	f.StringVar(&c.Headers, "headers", "", "llamacpp: `DIR` of llama.h, of the library's version")
	f.StringVar(&c.Compiler, "compiler", "", "llamacpp: `PROGRAM` that compiles the probe (default c++)")
	f.StringVar(&c.Backend, "backend", "", "llamacpp: the one ggml backend library `FILE` to load")
	f.IntVar(&e.gpuLayers, "gpu-layers", 0, "llamacpp: `N` layers on the GPU")
	f.StringVar(&c.FlashAttention, "flash-attention", "", "llamacpp: flash attention `on|off|auto`")
	f.StringVar(&c.KVType, "kv-type", "", "llamacpp: KV cache in `f32|f16|bf16|q8_0`")
	f.IntVar(&c.Threads, "threads", 0, "llamacpp, transformers: `N` threads")
	f.IntVar(&c.Batch, "batch", 0, "llamacpp: logical batch of `N` tokens")
	f.IntVar(&c.UBatch, "ubatch", 0, "llamacpp: physical batch of `N` tokens")
	f.BoolVar(&c.Decode, "decode", false, "llamacpp, transformers: feed one token at a time instead of a prefill")
	f.BoolVar(&c.Sublayers, "sublayers", false, "llamacpp, transformers, builtin: capture attention and feed-forward outputs, too")
	f.BoolVar(&e.prove, "prove-capture", true, "llamacpp, transformers: run once more without capture and compare the final logits")
	f.BoolVar(&c.NoRepack, "no-repack", false, "llamacpp: turn off repacked weight buffers")
	var profiles []string
	for _, p := range oracle.Profiles() {
		profiles = append(profiles, p.Name)
	}
	completeChoice(cmd, "precision", profiles)
	f.StringVar(&c.Python, "python", "", "transformers: the Python `PROGRAM` that has torch and transformers (default python3)")
	f.StringVar(&c.DType, "dtype", "", "transformers: type of weights and activations `f64|f32|f16|bf16` (default the config's)")
	f.StringVar(&c.Device, "device", "", "transformers: PyTorch's `NAME` of the device (default cpu)")
	f.StringVar(&c.Attention, "attention", "", "transformers: attention `eager|sdpa|flash_attention_2` (default eager)")
	f.BoolVar(&c.TrustRemoteCode, "trust-remote-code", false, "transformers: run Python code that lies in the model's folder")
	completeChoice(cmd, "dtype", spec.DTypes())
	completeChoice(cmd, "attention", spec.Attentions())
	completeChoice(cmd, "mode", []string{"probe", "preload"})
	completeChoice(cmd, "flash-attention", []string{"on", "off", "auto"})
	completeChoice(cmd, "kv-type", []string{"f32", "f16", "bf16", "q8_0"})
}

// config is the engine that the flags describe. Flags of another adapter are
// refused, not ignored.
func (e *engineFlags) config(cmd *cobra.Command, adapter string) (spec.Engine, error) {
	cfg := e.cfg
	cfg.Adapter = adapter
	for _, name := range engineFlagNames(cmd) {
		of := engineKeys[name]
		if cmd.Flags().Changed(name) && adapter != "" && of != nil && !slices.Contains(of, adapter) {
			return cfg, usagef("--%s belongs to %s, not to %s", name, orList(of), adapter)
		}
	}
	if len(cfg.Command) > 0 && (adapter == "trace" || adapter == "builtin" || adapter == "llamacpp" && cfg.Mode != "preload") {
		return cfg, usagef("a command belongs to exec, or to llamacpp with --mode preload")
	}
	for _, kv := range e.env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return cfg, usagef("--env %q: want NAME=VALUE", kv)
		}
		if cfg.Env == nil {
			cfg.Env = map[string]string{}
		}
		cfg.Env[name] = value
	}
	if e.precision != "" {
		p, err := engine.ParsePrecision(e.precision)
		if err != nil {
			return cfg, usagef("--precision %v", err)
		}
		cfg.Precision = p
	}
	if adapter != "trace" {
		fillDefaults(&cfg)
	}
	if cmd.Flags().Changed("gpu-layers") {
		cfg.GPULayers = &e.gpuLayers
	}
	if cmd.Flags().Changed("prove-capture") {
		cfg.ProveCapture = &e.prove
	}
	return cfg, nil
}

// fillDefaults gives an engine of the command line the bounds that one of a
// spec gets.
func fillDefaults(cfg *spec.Engine) {
	if cfg.Timeout == 0 {
		cfg.Timeout = spec.DefaultTimeout
	}
	if cfg.Adapter == "llamacpp" && cfg.Mode == "" {
		cfg.Mode = "probe"
	}
	cfg.MaxOutput, cfg.MaxTrace = spec.DefaultMaxOutput, spec.DefaultMaxTrace
}
