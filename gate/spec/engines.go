package spec

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// The bounds of an engine that says nothing else.
const (
	DefaultTimeout         = 10 * time.Minute
	DefaultMaxOutput int64 = 1e6
	DefaultMaxTrace  int64 = 64e9
)

// Adapters are the ways to run an engine.
func Adapters() []string { return []string{"exec", "llamacpp", "transformers", "builtin", "trace"} }

var engineFields = []field[Engine]{
	{"adapter", true, choiceKind("adapter", Adapters, func(e *Engine) *string { return &e.Adapter }), "How the engine is run: exec (a program that writes a trace), llamacpp, transformers (a Hugging Face model on PyTorch), builtin (paritygate's own forward pass), or trace (a recorded file)."},
	{"names", false, namesKind(), "Maps the engine's checkpoint names to canonical ones: regular expression for the whole name, to a replacement with ${1}. The first that matches counts."},
	{"timeout", false, durationKind("timeout", func(e *Engine) *time.Duration { return &e.Timeout }), "Bound of one run on one prompt."},
	{"retries", false, intKind("retries", 0, 10, func(e *Engine, v int) { e.Retries = v }), "How often a crash is tried again; a divergence never is."},
	{"env", false, envKind(), "Added to the scrubbed environment; values may hold variables."},
	{"pass_env", false, passEnvKind(), "Names of variables that are passed through from the caller."},
	{"gpu", false, boolKind("gpu", func(e *Engine, v bool) { e.GPU = &v }), "Whether the engine uses the GPU; such engines run one after the other."},
	{"model", false, pathKind("model", func(e *Engine) *string { return &e.Model }), "Weights of this engine alone, instead of the spec's model."},
	{"precision", false, precisionKind(), "How the engine computes: a named profile, or {profile: NAME} with fields of it that differ. What the builtin engine emulates, and what explains another engine's error."},
	{"command", false, commandKind("command", Variables, func(e *Engine) *[]string { return &e.Command }), "Program and arguments; no shell reads them. May hold variables."},
	{"build", false, commandKind("build", nil, func(e *Engine) *[]string { return &e.Build }), "Program and arguments that build the engine from a checkout, for bisect; run in the spec's folder."},
	{"dir", false, pathKind("dir", func(e *Engine) *string { return &e.Dir }), "Working directory of the command."},
	{"max_output", false, sizeKind("max_output", func(e *Engine) *int64 { return &e.MaxOutput }), "How much of stdout and of stderr is kept."},
	{"max_trace", false, sizeKind("max_trace", func(e *Engine) *int64 { return &e.MaxTrace }), "Bound of the written trace."},
	{"path", false, tracePathKind(), "The recorded trace, a file or a folder; {{prompt}} stands for the prompt's name. Golden traces in a registry are oci:REGISTRY/REPOSITORY@sha256:DIGEST."},
	{"mode", false, choiceKind("mode", fixed("probe", "preload"), func(e *Engine) *string { return &e.Mode }), "probe compiles a small program against the user's library; preload captures from an unmodified program."},
	{"library", false, pathKind("library", func(e *Engine) *string { return &e.Library }), "Folder of the llama.cpp libraries."},
	{"headers", false, pathKind("headers", func(e *Engine) *string { return &e.Headers }), "Folder of the headers that belong to the library."},
	{"compiler", false, programKind("compiler", func(e *Engine) *string { return &e.Compiler }), "The compiler to use instead of the system's."},
	{"backend", false, programKind("backend", func(e *Engine) *string { return &e.Backend }), "One ggml backend library to load instead of all."},
	{"gpu_layers", false, intKind("gpu_layers", 0, 1e6, func(e *Engine, v int) { e.GPULayers = &v }), "How many layers run on the GPU."},
	{"flash_attention", false, choiceKind("flash_attention", fixed("on", "off", "auto"), func(e *Engine) *string { return &e.FlashAttention }), "Whether flash attention is used."},
	{"kv_type", false, choiceKind("kv_type", fixed("f32", "f16", "bf16", "q8_0"), func(e *Engine) *string { return &e.KVType }), "Type of the KV cache."},
	{"threads", false, intKind("threads", 1, 4096, func(e *Engine, v int) { e.Threads = v }), "Number of threads."},
	{"batch", false, intKind("batch", 1, 1<<24, func(e *Engine, v int) { e.Batch = v }), "Tokens of one batch."},
	{"ubatch", false, intKind("ubatch", 1, 1<<24, func(e *Engine, v int) { e.UBatch = v }), "Tokens that are computed at once."},
	{"decode", false, boolKind("decode", func(e *Engine, v bool) { e.Decode = v }), "Feed one token at a time instead of a prefill."},
	{"sublayers", false, boolKind("sublayers", func(e *Engine, v bool) { e.Sublayers = v }), "Capture attention and feed-forward outputs, too."},
	{"prove_capture", false, boolKind("prove_capture", func(e *Engine, v bool) { e.ProveCapture = &v }), "Run once more without capture and compare the final logits bit for bit."},
	{"no_repack", false, boolKind("no_repack", func(e *Engine, v bool) { e.NoRepack = v }), "Turn off llama.cpp's repacked weight buffers."},
	{"python", false, programKind("python", func(e *Engine) *string { return &e.Python }), "The Python that has torch and transformers."},
	{"dtype", false, choiceKind("dtype", DTypes, func(e *Engine) *string { return &e.DType }), "Type of weights and activations, instead of the one that the model's config names."},
	{"device", false, deviceKind(), "PyTorch's name of the device: cpu, cuda, cuda:1, mps."},
	{"attention", false, choiceKind("attention", Attentions, func(e *Engine) *string { return &e.Attention }), "Implementation of attention."},
	{"trust_remote_code", false, boolKind("trust_remote_code", func(e *Engine, v bool) { e.TrustRemoteCode = v }), "Run Python code that lies in the model's folder."},
}

// variant is one adapter, in one mode, with the keys it takes.
type variant struct {
	adapter, mode string // mode "" where the adapter has none
	need          []string
	may           []string
}

func (v variant) keys() []string { return append(append([]string{"adapter"}, v.need...), v.may...) }

// title names the variant in messages.
func (v variant) title() string {
	if v.mode == "" {
		return "adapter " + v.adapter
	}
	return fmt.Sprintf("adapter %s with mode %s", v.adapter, v.mode)
}

var variants = []variant{
	{"exec", "", words("command"),
		words("names timeout retries env pass_env gpu model precision dir max_output max_trace build")},
	{"transformers", "", nil,
		words("names timeout retries env pass_env gpu model precision max_output max_trace threads decode sublayers prove_capture python dtype device attention trust_remote_code build")},
	{"builtin", "", nil, words("timeout model precision sublayers")},
	{"trace", "", words("path"), words("names precision")},
	{"llamacpp", "probe", words("library headers"),
		words("mode names timeout retries env pass_env gpu model precision max_output max_trace compiler backend gpu_layers flash_attention kv_type threads batch ubatch decode sublayers prove_capture no_repack build")},
	{"llamacpp", "preload", words("mode command"),
		words("names timeout retries env pass_env gpu model precision dir max_output max_trace compiler sublayers build")},
}

func words(s string) []string { return strings.Fields(s) }

func engineKind(role string, ptr func(*Engines) *Engine) kind[Engines] {
	return kind[Engines]{read: func(d *decoder, n *yaml.Node, into *Engines) { d.engine(n, "engine "+role, ptr(into)) }}
}

func witnessesKind() kind[Engines] {
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object",
			PropertyNames:        &jsonschema.Schema{Not: &jsonschema.Schema{Enum: []any{"reference", "candidate"}}},
			PatternProperties:    map[string]*jsonschema.Schema{namePattern: {Ref: "#/$defs/Engine"}},
			AdditionalProperties: jsonschema.FalseSchema}
	}
	return kind[Engines]{schema: schema, read: func(d *decoder, n *yaml.Node, into *Engines) {
		for _, e := range d.entries(n, "witnesses") {
			name := e.key.Value
			if !d.named(e.key, "a witness's name") {
				continue
			}
			if name == "reference" || name == "candidate" {
				d.errorf(e.key, "a witness cannot be called %s: that is a role", name)
				continue
			}
			if isNull(e.value) {
				d.errorf(e.key, "%s has no value", name)
				continue
			}
			var w Engine
			d.engine(e.value, "witness "+name, &w)
			if into.Witnesses == nil {
				into.Witnesses = map[string]Engine{}
			}
			into.Witnesses[name] = w
		}
	}}
}

// engine reads one engine. Which keys are valid depends on its adapter and
// mode, so those are looked up before the rest is read.
func (d *decoder) engine(n *yaml.Node, what string, e *Engine) {
	e.Line = n.Line
	if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
		e.Line = n.Content[0].Line
	}
	v, known := variantOf(n)
	if !known {
		mapping(d, n, what, engineFields, nil, e)
		return
	}
	if v.mode != "" {
		e.Mode = v.mode
	}
	got := mapping(d, n, what+" ("+v.title()+")", engineFields, v.keys(), e)
	for _, k := range v.need {
		if _, ok := got[k]; !ok {
			d.errorf(n, "%s lacks the key %q, which %s needs", what, k, v.title())
		}
	}
	d.engineDefaults(v, e)
	for _, name := range e.PassEnv {
		if _, both := e.Env[name]; both {
			d.errorf(got["pass_env"].key, "%s is passed through and set in env, too: choose one", name)
		}
	}
	if e.Batch > 0 && e.UBatch > e.Batch {
		d.errorf(got["ubatch"].value, "ubatch %d is larger than batch %d", e.UBatch, e.Batch)
	}
}

func (d *decoder) engineDefaults(v variant, e *Engine) {
	if v.adapter == "trace" {
		return
	}
	if e.Timeout == 0 {
		e.Timeout = DefaultTimeout
	}
	if v.adapter == "builtin" { // runs no program
		return
	}
	if e.MaxOutput == 0 {
		e.MaxOutput = DefaultMaxOutput
	}
	if e.MaxTrace == 0 {
		e.MaxTrace = DefaultMaxTrace
	}
	if e.Dir == "" && slices.Contains(v.may, "dir") {
		e.Dir = d.dir
	}
}

// variantOf looks up adapter and mode; unknown when either is not valid,
// which reading the keys then reports.
func variantOf(n *yaml.Node) (variant, bool) {
	adapter, mode := "", ""
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch n.Content[i].Value {
			case "adapter":
				adapter = n.Content[i+1].Value
			case "mode":
				mode = n.Content[i+1].Value
			}
		}
	}
	if adapter != "llamacpp" {
		mode = "" // then the key itself is the mistake
	} else if mode == "" {
		mode = "probe"
	}
	i := slices.IndexFunc(variants, func(v variant) bool { return v.adapter == adapter && v.mode == mode })
	if i < 0 {
		return variant{}, false
	}
	return variants[i], true
}

// written reads a scalar as it stands in the file: "0", "true" and "012" are
// what a program is given.
func (d *decoder) written(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.errorf(n, "%s is text, not %s", what, kindOf(n))
		return "", false
	}
	if strings.IndexByte(n.Value, 0) >= 0 {
		d.errorf(n, "%s holds a zero byte", what)
		return "", false
	}
	return n.Value, true
}

func writtenSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string", Pattern: templatePattern(Variables)}, {Type: "number"}, {Type: "boolean"}}}
}

// commandKind reads a program with its arguments, which may hold the variables.
func commandKind(what string, variables []string, ptr func(*Engine) *[]string) kind[Engine] {
	one := uint64(1)
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: writtenSchema(), MinItems: &one}
	}
	return kind[Engine]{schema: schema, read: func(d *decoder, n *yaml.Node, e *Engine) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
			d.errorf(n, "%s is a list of the program and its arguments, not one text: [%s]", what, strings.Join(strings.Fields(n.Value), ", "))
			return
		}
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.errorf(n, "%s is empty", what)
		}
		into := ptr(e)
		for i, c := range d.items(n, what) {
			s, ok := d.written(c, "an element of "+what)
			if !ok || !d.template(c, s, variables) {
				continue
			}
			if i == 0 && strings.TrimSpace(s) == "" {
				d.errorf(c, "the program is empty")
			}
			if i == 0 && !strings.HasPrefix(s, "{{") {
				s = d.program(c, s)
			}
			*into = append(*into, s)
		}
	}}
}

func envKind() kind[Engine] {
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object",
			PatternProperties:    map[string]*jsonschema.Schema{envPattern: writtenSchema()},
			AdditionalProperties: jsonschema.FalseSchema}
	}
	return kind[Engine]{schema: schema, read: func(d *decoder, n *yaml.Node, e *Engine) {
		e.Env = map[string]string{}
		for _, c := range d.entries(n, "env") {
			if !d.envName(c.key) {
				continue
			}
			s, ok := d.written(c.value, c.key.Value)
			if ok && d.template(c.value, s, Variables) {
				e.Env[c.key.Value] = s
			}
		}
	}}
}

func (d *decoder) envName(n *yaml.Node) bool {
	if !envRE.MatchString(n.Value) {
		d.errorf(n, "%s is not a variable's name: letters, digits and _, not starting with a digit", quote(n.Value))
		return false
	}
	return true
}

func passEnvKind() kind[Engine] {
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: patternSchema(envPattern)()}
	}
	return kind[Engine]{schema: schema, read: func(d *decoder, n *yaml.Node, e *Engine) {
		for _, c := range d.items(n, "pass_env") {
			if s, ok := d.text(c, "an element of pass_env"); ok && d.envName(c) {
				e.PassEnv = append(e.PassEnv, s)
			}
		}
	}}
}

// registryScheme begins the name of golden traces: oci:REGISTRY/REPOSITORY@DIGEST.
const registryScheme = "oci:"

func tracePathKind() kind[Engine] {
	schema := func() *jsonschema.Schema {
		s := stringSchema()
		s.Pattern = templatePattern(pathVariables)
		return s
	}
	return kind[Engine]{schema: schema, read: func(d *decoder, n *yaml.Node, e *Engine) {
		s, ok := d.text(n, "path")
		switch {
		case !ok:
		case strings.HasPrefix(s, registryScheme):
			// Golden traces in a registry are no path of this machine.
			if d.template(n, s, nil) {
				e.Path = s
			}
		case d.template(n, s, pathVariables):
			e.Path = d.resolve(n, s)
		}
	}}
}

// Compile is the pattern anchored at both ends.
func (r NameRule) Compile() (*regexp.Regexp, error) { return regexp.Compile(`^(?:` + r.Pattern + `)$`) }

// maxPattern bounds a regular expression: names are short.
const maxPattern = 200

func namesKind() kind[Engine] {
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object", AdditionalProperties: stringSchema()}
	}
	return kind[Engine]{schema: schema, read: func(d *decoder, n *yaml.Node, e *Engine) {
		for _, c := range d.entries(n, "names") {
			r := NameRule{Pattern: c.key.Value}
			re, ok := d.pattern(c.key, r)
			s, isText := d.text(c.value, "a name's replacement")
			if !ok || !isText {
				continue
			}
			r.Replacement = s
			if d.replacement(c.value, s, re) {
				e.Names = append(e.Names, r)
			}
		}
	}}
}

func (d *decoder) pattern(n *yaml.Node, r NameRule) (*regexp.Regexp, bool) {
	if r.Pattern == "" || len(r.Pattern) > maxPattern {
		d.errorf(n, "a name's pattern has 1 to %d bytes", maxPattern)
		return nil, false
	}
	// Compiled alone first: "a)(b" would be valid inside the anchors.
	if _, err := regexp.Compile(r.Pattern); err != nil {
		if se, ok := err.(*syntax.Error); ok {
			d.errorf(n, "bad regular expression %s: %s: %s", quote(r.Pattern), se.Code, quote(se.Expr))
		} else {
			d.errorf(n, "bad regular expression %s", quote(r.Pattern))
		}
		return nil, false
	}
	re, err := r.Compile()
	if err != nil {
		d.errorf(n, "bad regular expression %s", quote(r.Pattern))
		return nil, false
	}
	return re, true
}

// reference is what a replacement may hold behind a $.
var reference = regexp.MustCompile(`\$(\{[^}]*\}|\$|[A-Za-z0-9_]*)`)

// replacement checks that every group it names exists: the regexp package
// would silently put nothing in its place, and reads $1_x as a group "1_x".
func (d *decoder) replacement(n *yaml.Node, s string, re *regexp.Regexp) bool {
	for _, m := range reference.FindAllString(s, -1) {
		name, braces := strings.CutPrefix(strings.TrimSuffix(m, "}"), "${")
		switch i, err := strconv.Atoi(name); {
		case m == "$$":
		case !braces:
			d.errorf(n, "%s: a group is written ${1}, a dollar sign $$", quote(m))
			return false
		case err == nil && (i < 0 || i > re.NumSubexp()):
			d.errorf(n, "%s: the pattern has %d group(s)", m, re.NumSubexp())
			return false
		case err != nil && (name == "" || re.SubexpIndex(name) < 0):
			d.errorf(n, "%s: the pattern has no group of that name", quote(m))
			return false
		}
	}
	return true
}
