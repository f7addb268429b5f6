package trace

import (
	"archive/zip"
	"bytes"
	"math"
)

// wellFormed is the corpus of traces that open.
func wellFormed() []corpusFile {
	id := int32(257)
	const pair = `"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}`
	return []corpusFile{
		{name: "plain.safetensors", bytes: stValues(`{"__metadata__":{"paritygate":"1","engine":"e","tokens":"[3,4]","note":"x"},"model.embed_tokens":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"lm_head":{"dtype":"F32","shape":[2,1],"data_offsets":[16,24]}}`, 1, 2, 3, 4, 5, 6)},
		{name: "spaces.safetensors", bytes: stValues("{ \n\"logits\" : {\t\"shape\":[2],\"data_offsets\":[0,8],\"dtype\":\"F32\"} } \n  ", 1, 2)},
		{name: "no-suffix", bytes: stValues(`{"logits":{"dtype":"F32","shape":[1,1,2],"data_offsets":[0,8]}}`, 1, 2)},
		{name: "escaped-name.safetensors", bytes: stValues(`{"a\u00e9\ud83d\ude00\n":{`+pair+`}`, 1, 2)},
		{name: "tokens-tensor.safetensors", bytes: append(st(`{"input_ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},"logits":{"dtype":"F32","shape":[2,1],"data_offsets":[16,24]}}`, 0),
			append([]byte{7, 0, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0}, f32s(1, 2)...)...)},
		{name: "positions.safetensors", bytes: stValues(`{"__metadata__":{"positions":"[4, 7]","positions:logits":"[7]"},"l_out-0":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"logits":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]}}`, 1, 2, 3)},
		{name: "dtypes.safetensors", bytes: append(st(`{"a":{"dtype":"F64","shape":[1,1],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]},"c":{"dtype":"F16","shape":[1,1],"data_offsets":[12,14]}}`, 0),
			0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x80, 0x3f, 0xc0, 0x7f, 0, 0x3c)},
		{name: "shards", files: map[string][]byte{
			"a.safetensors":  stValues(`{"__metadata__":{"engine":"e","device":"gpu 0","positions":"[0,2]","tokens":"[1,2,3,4]"},"logits":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}`, 10, 12),
			"b.safetensors":  stValues(`{"__metadata__":{"engine":"e","device":"gpu 1","positions":"[1,3]"},"logits":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}`, 11, 13),
			"c.safetensors":  stValues(`{"embd":{"dtype":"F32","shape":[4,1],"data_offsets":[0,16]}}`, 1, 2, 3, 4),
			"notes.txt":      []byte("not a shard"),
			".d.safetensors": []byte("half-written"),
		}},
		{name: "plain.jsonl", bytes: []byte(`{"checkpoint":"logits","team":"e","token_idx":0,"dtype":"f32","shape":"[1,4]","values":[1,2.5,-3e-2]}` + "\n" +
			`{"values":[ 4 , 5 ],"x":{"y":[1,{"z":"]\""}]},"shape":[4],"token_idx":2,"checkpoint":"logits","source":"e"}`)},
		{name: "crlf-blank.jsonl", bytes: []byte(utf8BOM + "\r\n  \n{\"checkpoint\":\"l_out-1\",\"token_idx\":1,\"values\":[1]}\r\n\r\n{\"checkpoint\":\"l_out-1\",\"token_idx\":0,\"values\":[0]}\r\n\n")},
		{name: "specials.jsonl", bytes: []byte(`{"checkpoint":"logits","token_idx":0,"values":[1e308,-1e308,NaN,nan,-nan,inf,-inf,Infinity,-Infinity,null,-0.0]}`)},
		{name: "metadata.jsonl", bytes: []byte(`{"metadata":{"engine":"e","tokens":[5,6],"model":"m"}}` + "\n" + `{"checkpoint":"logits","token_idx":1,"token_id":6,"values":[1]}` + "\n")},
		{name: "half-types.jsonl", bytes: []byte(`{"checkpoint":"a","token_idx":0,"dtype":"f16","values":[65504,6e-8,0.333,1e308]}` + "\n" + `{"checkpoint":"b","token_idx":0,"dtype":"bfloat16","values":[1.0039,3.3e38]}` + "\n" + `{"checkpoint":"c","token_idx":0,"dtype":"f64","values":[0.1,1e300]}`)},
		{name: "written.jsonl", bytes: written(JSONLRow{Checkpoint: "logits", Position: 0, Width: 9, TokenID: &id, Values: []float64{0.1, math.Inf(1), math.NaN(), 1e-7, 123456789}})},
		{name: "jsonl-shards", files: map[string][]byte{
			"a.jsonl": []byte(`{"checkpoint":"logits","token_idx":1,"shape":"[3]","values":[1,2,3]}`),
			"b.jsonl": []byte(`{"checkpoint":"logits","token_idx":0,"shape":"[3]","values":[4,5]}`),
		}},
		{name: "v1.npy", bytes: npyF4("(2, 2)", 1, 2, 3, 4)},
		{name: "v2.npy", bytes: npy(2, `{"descr": "<f8", "fortran_order": False, "shape": (1,)}`, make([]byte, 8))},
		{name: "v3-fortran-vector.npy", bytes: npy(3, `{'descr': '<f2', 'fortran_order': True, 'shape': (2,), }`, []byte{0, 0x3c, 0, 0xc0})},
		{name: "arrays", files: map[string][]byte{"embd.npy": npyF4("(2, 1)", 1, 2), "result_output.npy": npyF4("(2, 2)", 3, 4, 5, 6), "tokens.npy": npyI8(8, 9)}},
		{name: "stored.npz", bytes: npz(zip.Store, "l_out-0.npy", npyF4("(2, 1)", 1, 2), "positions.npy", npyI8(3, 5))},
		{name: "deflated.npz", bytes: npz(zip.Deflate, "../../logits.npy", npyF4("(1, 3)", 1, 2, 3), "input_ids.npy", npyI8(1))},
	}
}

// stValues is a safetensors file of float32 values.
func stValues(header string, values ...float32) []byte {
	return append(st(header, 0), f32s(values...)...)
}

// written is what WriteJSONL makes of a row.
func written(row JSONLRow) []byte {
	var b bytes.Buffer
	if err := WriteJSONL(&b, Meta{Engine: "e", Prompt: "p"}, []JSONLRow{row}); err != nil {
		panic(err)
	}
	return b.Bytes()
}
