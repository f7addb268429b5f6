package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// traceInfo is what inspect prints of a trace, and its JSON.
type traceInfo struct {
	Path          string            `json:"path"`
	Format        string            `json:"format"`
	Engine        string            `json:"engine"`
	EngineVersion string            `json:"engine_version"`
	Model         string            `json:"model"`
	WeightsSHA256 string            `json:"weights_sha256"`
	ComputeDType  string            `json:"compute_dtype"`
	Device        string            `json:"device"`
	Prompt        string            `json:"prompt"`
	Tokens        []int32           `json:"tokens"`
	Extra         map[string]string `json:"extra"`
	Checkpoints   []checkpointInfo  `json:"checkpoints"`
}

// checkpointInfo is one checkpoint of a trace.
type checkpointInfo struct {
	Name      string `json:"name"`
	Source    string `json:"source"` // the name in the file
	DType     string `json:"dtype"`
	Width     int    `json:"width"`  // elements of a whole row
	Stored    int    `json:"stored"` // first elements of each row that the file holds
	Positions []int  `json:"positions"`
}

func (a *app) inspectCommand() *cobra.Command {
	format := choice{value: "text", of: []string{"text", "json"}}
	var specPath, engineName string
	cmd := &cobra.Command{
		Use:   "inspect TRACE",
		Short: "Show what a trace holds",
		Long: `Shows what a trace, a file or a folder of shards, says of its run, and its
checkpoints: canonical name, name in the file, precision, rows, elements and
positions. Values are not read.

With --spec, checkpoints are named by the names: of one of its engines.`,
		Example: `  paritygate inspect candidate.safetensors
  paritygate inspect worker.jsonl --spec parity.yaml --engine candidate
  paritygate inspect candidate.safetensors --format json`,
		Args: exactArgs("TRACE"),
		RunE: func(_ *cobra.Command, args []string) error {
			var e spec.Engine
			if specPath != "" {
				s, err := loadSpec(specPath)
				if err != nil {
					return err
				}
				if e, _, err = findEngine(s, engineName); err != nil {
					return err
				}
			}
			t, err := openTrace(args[0], e)
			if err != nil {
				return err
			}
			defer t.Close() // only read
			return a.inspect(describeTrace(t), format.value)
		},
	}
	flags := cmd.Flags()
	flags.VarP(&format, "format", "f", "how to print it")
	completeChoice(cmd, "format", format.of)
	addSpecFlag(cmd, &specPath, "apply the names: of an engine of this spec `FILE`")
	flags.StringVar(&engineName, "engine", "candidate", "`NAME` of that engine: reference, candidate or a witness's")
	return cmd
}

func describeTrace(t *trace.Trace) traceInfo {
	m := t.Meta
	info := traceInfo{
		Path: t.Path, Format: string(t.Format), Engine: m.Engine, EngineVersion: m.EngineVersion,
		Model: m.Model, WeightsSHA256: m.WeightsSHA256, ComputeDType: m.ComputeDType, Device: m.Device,
		Prompt: m.Prompt, Tokens: append([]int32{}, m.Tokens...), Extra: map[string]string{},
		Checkpoints: []checkpointInfo{},
	}
	maps.Copy(info.Extra, m.Extra)
	for _, c := range t.Checkpoints {
		info.Checkpoints = append(info.Checkpoints, checkpointInfo{
			Name: c.Name, Source: c.Source, DType: c.DType.String(),
			Width: c.Width, Stored: c.Stored, Positions: c.Positions,
		})
	}
	return info
}

func (a *app) inspect(info traceInfo, format string) error {
	if format == "json" {
		b, err := json.MarshalIndent(info, "", "  ")
		if err != nil {
			return err
		}
		return a.write(append(b, '\n'))
	}
	return a.write([]byte(info.text()))
}

// text is the table for people. Fields that the trace does not say are left
// out; what the file holds is quoted where it could steer a terminal.
func (i traceInfo) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, printable(value))
		}
	}
	line("trace", i.Path)
	line("format", i.Format)
	line("engine", strings.TrimSpace(i.Engine+" "+i.EngineVersion))
	line("model", i.Model)
	line("weights", i.WeightsSHA256)
	line("computed in", i.ComputeDType)
	line("device", i.Device)
	line("prompt", i.Prompt)
	if n := len(i.Tokens); n > 0 {
		line("tokens", fmt.Sprintf("%d: %s", n, firstTokens(i.Tokens)))
	}
	for _, k := range slices.Sorted(maps.Keys(i.Extra)) {
		line(printable(k), i.Extra[k])
	}
	line("checkpoints", strconv.Itoa(len(i.Checkpoints)))
	w.Flush() // a strings.Builder takes everything

	b.WriteString("\n")
	w.Init(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "checkpoint\tin the file\tdtype\trows\telements\tpositions")
	for _, c := range i.Checkpoints {
		elements := strconv.Itoa(c.Width)
		if c.Stored < c.Width {
			elements = fmt.Sprintf("%d of %d", c.Stored, c.Width)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", printable(c.Name), printable(c.Source), c.DType,
			len(c.Positions), elements, ranges(c.Positions))
	}
	w.Flush()
	return b.String()
}

// shownTokens and shownRanges bound lists for people; JSON has them whole.
const (
	shownTokens = 16
	shownRanges = 12
)

func firstTokens(ids []int32) string {
	n := min(len(ids), shownTokens)
	parts := make([]string, n)
	for i, id := range ids[:n] {
		parts[i] = strconv.Itoa(int(id))
	}
	s := strings.Join(parts, " ")
	if n < len(ids) {
		s += fmt.Sprintf(" … %d more", len(ids)-n)
	}
	return s
}

// ranges writes ascending positions as 0-6,9,12-20.
func ranges(ps []int) string {
	var parts []string
	for i := 0; i < len(ps); {
		j := i
		for j+1 < len(ps) && ps[j+1] == ps[j]+1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d-%d", ps[i], ps[j]))
		} else {
			parts = append(parts, strconv.Itoa(ps[i]))
		}
		i = j + 1
	}
	if n := len(parts); n > shownRanges {
		parts = append(parts[:shownRanges], fmt.Sprintf("… %d more", n-shownRanges))
	}
	return strings.Join(parts, ",")
}

// printable quotes text that holds anything but printable characters.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
