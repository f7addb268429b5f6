package trace

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Keys of the metadata that have a meaning; every other key lands in Meta.Extra.
const (
	keyVersion   = "paritygate"
	keyTokens    = "tokens"
	keyPositions = "positions"
	// keyPositionsOf + a tensor's name overrides keyPositions for that tensor,
	// for traces in which checkpoints have different rows.
	keyPositionsOf = "positions:"
	formatVersion  = "1"
)

// textKeys are the metadata keys that are plain text.
var textKeys = []string{"engine", "engine_version", "model", "weights_sha256", "compute_dtype", "device", "prompt"}

// text is the field of a key of textKeys, nil for any other.
func (m *Meta) text(key string) *string {
	switch key {
	case "engine":
		return &m.Engine
	case "engine_version":
		return &m.EngineVersion
	case "model":
		return &m.Model
	case "weights_sha256":
		return &m.WeightsSHA256
	case "compute_dtype":
		return &m.ComputeDType
	case "device":
		return &m.Device
	case "prompt":
		return &m.Prompt
	}
	return nil
}

// metaSet is the metadata of one file with the positions of single tensors.
type metaSet struct {
	Meta
	positionsOf map[string][]int
	seen        map[string]bool
}

// set takes one key of the metadata.
func (m *metaSet) set(key, value string) error {
	if m.seen == nil {
		m.seen = map[string]bool{}
	}
	if m.seen[key] {
		return fmt.Errorf("metadata key %s stands twice", quote(key))
	}
	m.seen[key] = true
	if p := m.text(key); p != nil {
		*p = value
		return nil
	}
	name, isPositionsOf := strings.CutPrefix(key, keyPositionsOf)
	switch {
	case key == keyVersion:
		if value != formatVersion {
			return fmt.Errorf("metadata paritygate is %s: this program reads version %q", quote(value), formatVersion)
		}
	case key == keyTokens:
		ids, err := parseIntegers(key, value, math.MaxInt32)
		if err != nil {
			return err
		}
		m.Tokens = toInt32(ids)
	case key == keyPositions, isPositionsOf:
		ids, err := parseIntegers(key, value, math.MaxInt32)
		if err != nil {
			return err
		}
		positions, err := ascending(key, ids)
		if err != nil {
			return err
		}
		if key == keyPositions {
			m.Positions = positions
			return nil
		}
		if m.positionsOf == nil {
			m.positionsOf = map[string][]int{}
		}
		m.positionsOf[name] = positions
	default:
		if m.Extra == nil {
			m.Extra = map[string]string{}
		}
		m.Extra[key] = value
	}
	return nil
}

// parseIntegers reads the JSON array in a metadata value.
func parseIntegers(key, value string, most int64) ([]int64, error) {
	c := cursor{b: []byte(value)}
	ids, f := c.integers("metadata "+key, most)
	if f == nil {
		if c.peek(); c.i < len(c.b) {
			f = c.unexpected("the end of the array")
		}
	}
	if f != nil {
		return nil, fmt.Errorf("metadata %s is no JSON array of integers: byte %d of it: %s", key, f.at, f.msg)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("metadata %s is an empty array", key)
	}
	return ids, nil
}

// ascending checks that positions rise, which makes them unique, too.
func ascending(what string, ids []int64) ([]int, error) {
	out := make([]int, len(ids))
	for i, v := range ids {
		out[i] = int(v)
		if i > 0 && ids[i-1] >= v {
			return nil, fmt.Errorf("%s must rise: %d follows %d at index %d", what, v, ids[i-1], i)
		}
	}
	return out, nil
}

func toInt32(ids []int64) []int32 {
	out := make([]int32, len(ids))
	for i, v := range ids {
		out[i] = int32(v)
	}
	return out
}

// agree merges what one shard says into what the others said. Shards of one
// run may lie on several devices and may carry extra keys of their own; all
// else is said once or says the same.
func (m *Meta) agree(o *Meta) error {
	for _, key := range textKeys {
		switch p, theirs := m.text(key), o.text(key); {
		case *theirs == "" || *p == *theirs:
		case *p == "":
			*p = *theirs
		case key == "device":
			if !slices.Contains(strings.Split(*p, ", "), *theirs) {
				*p += ", " + *theirs
			}
		default:
			return fmt.Errorf("%s is %s here and %s in an earlier shard", key, quote(*theirs), quote(*p))
		}
	}
	if m.Tokens == nil {
		m.Tokens = o.Tokens
	} else if o.Tokens != nil && !slices.Equal(m.Tokens, o.Tokens) {
		return fmt.Errorf("tokens differ from those of an earlier shard")
	}
	for k, v := range o.Extra {
		if m.Extra == nil {
			m.Extra = map[string]string{}
		}
		if _, ok := m.Extra[k]; !ok {
			m.Extra[k] = v
		}
	}
	return nil
}
