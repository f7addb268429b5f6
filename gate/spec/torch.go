package spec

import (
	"regexp"

	"gopkg.in/yaml.v3"
)

// DevicePattern is what names a device of PyTorch: cpu, cuda, cuda:1, mps, xpu:0.
const DevicePattern = `^(cpu|(cuda|mps|xpu|npu|hpu|mlu|musa)(:[0-9]{1,3})?)$`

// DTypes are the types in which transformers may compute.
func DTypes() []string { return []string{"f64", "f32", "f16", "bf16"} }

// Attentions are transformers' implementations of attention.
func Attentions() []string { return []string{"eager", "sdpa", "flash_attention_2"} }

var deviceRE = regexp.MustCompile(DevicePattern)

func deviceKind() kind[Engine] {
	return kind[Engine]{schema: patternSchema(DevicePattern), read: func(d *decoder, n *yaml.Node, e *Engine) {
		s, ok := d.text(n, "device")
		if !ok {
			return
		}
		if !deviceRE.MatchString(s) {
			d.errorf(n, "%s is no device: want cpu, cuda, cuda:1 or another of PyTorch's", quote(s))
			return
		}
		e.Device = s
	}}
}
