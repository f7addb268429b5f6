package oracle

import (
	"fmt"
	"reflect"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// Checkpoint is one that Run gives: its canonical name and the length of a row.
type Checkpoint struct {
	Name  string
	Width int
}

// Checkpoints are those that Run gives, in its order.
func (m *Model) Checkpoints(sublayers bool) []Checkpoint {
	parts := []string{"output"}
	if sublayers {
		parts = []string{"attn_norm", "attn_output", "ffn_input", "ffn_norm", "ffn_output", "output"}
	}
	list := []Checkpoint{{"embedding", m.p.width}}
	for i := range m.layers {
		for _, part := range parts {
			list = append(list, Checkpoint{fmt.Sprintf("layer_%d_%s", i, part), m.p.width})
		}
	}
	return append(list, Checkpoint{"final_norm", m.p.width}, Checkpoint{"logits", m.p.vocabulary})
}

// Coarsest is the coarsest format that the profile rounds anything to when it
// runs this model: "f64", "f32", "f16", "bf16", "q8_0" or "q8_k".
func (m *Model) Coarsest(p Profile) string {
	coarsest := Exact
	if p.Single {
		coarsest = F32
	}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		f, ok := v.Field(i).Interface().(Format)
		if !ok {
			continue
		}
		if f == ByWeight {
			f = m.coarsestInput()
		}
		coarsest = max(coarsest, f)
	}
	if coarsest == Exact {
		return "f64"
	}
	return coarsest.String()
}

// coarsestInput is the coarsest that ByWeight becomes for one of the matrices.
func (m *Model) coarsestInput() Format {
	types := map[gguf.Type]bool{m.head.weight.Type: true}
	for _, l := range m.layers {
		for _, w := range []matrix{l.q, l.k, l.v, l.output, l.gate, l.up, l.down} {
			if w.weight != nil {
				types[w.weight.Type] = true
			}
		}
	}
	coarsest := Exact
	for t := range types {
		coarsest = max(coarsest, ByWeight.forWeight(t))
	}
	return coarsest
}
