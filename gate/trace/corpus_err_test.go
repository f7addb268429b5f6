package trace

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"strings"
)

// malformed is the corpus of traces that are refused.
func malformed() []corpusFile {
	return append(append(append(badSafetensors(), badJSONL()...), badNPY()...), badFolders()...)
}

// one is a safetensors file whose header has one tensor of eight bytes of data.
func one(tensor string) []byte { return st(`{"logits":{`+tensor+`}}`, 8) }

// meta is a well-formed file but for its metadata.
func meta(metadata string) []byte {
	return st(`{"__metadata__":`+metadata+`,"logits":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}`, 8)
}

// two is a file of tensors a and b with these offsets, each of one float32.
func two(a, b string, data int) []byte { return named("a", a, "b", b, data) }

// named is a file of two tensors of one float32 each.
func named(nameA, offsetsA, nameB, offsetsB string, data int) []byte {
	return st(`{"`+nameA+`":{"dtype":"F32","shape":[1,1],"data_offsets":`+offsetsA+`},"`+nameB+`":{"dtype":"F32","shape":[1,1],"data_offsets":`+offsetsB+`}}`, data)
}

func badSafetensors() []corpusFile {
	const good = `"dtype":"F32","shape":[1,2],"data_offsets":[0,8]`
	size := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	return []corpusFile{
		{name: "empty.safetensors"},
		{name: "short.safetensors", bytes: []byte{1, 2, 3}},
		{name: "header-huge.safetensors", bytes: append(size(1<<63), "{}"...)},
		{name: "header-over-bound.safetensors", bytes: append(size(100_000_001), "{}"...)},
		{name: "header-cut.safetensors", bytes: append(size(100), `{"a":`...)},
		{name: "header-empty.safetensors", bytes: append(size(0), "{}"...)},
		{name: "header-array.safetensors", bytes: st("[]", 0)},
		{name: "header-not-utf8.safetensors", bytes: st("{\"a\xff\":{}}", 0)},
		{name: "header-ends-inside.safetensors", bytes: st(`{"logits":{"dtype":"F32"`, 8)},
		{name: "header-trailing-text.safetensors", bytes: st(`{"logits":{`+good+`}} x`, 8)},
		{name: "header-trailing-comma.safetensors", bytes: st(`{"logits":{`+good+`},}`, 8)},
		{name: "header-control-character.safetensors", bytes: st("{\"a\x01\":{}}", 0)},
		{name: "header-lone-surrogate.safetensors", bytes: st(`{"a\ud800":{}}`, 0)},
		{name: "no-tensor.safetensors", bytes: st("{}", 0)},
		{name: "tensor-twice.safetensors", bytes: st(`{"logits":{`+good+`},"logits":{`+good+`}}`, 8)},
		{name: "key-twice.safetensors", bytes: one(`"dtype":"F32",` + good)},
		{name: "key-unknown.safetensors", bytes: one(`"strides":[1],` + good)},
		{name: "key-missing.safetensors", bytes: one(`"dtype":"F32","data_offsets":[0,8]`)},
		{name: "tensor-not-object.safetensors", bytes: st(`{"logits":[1]}`, 0)},
		{name: "dtype-unknown.safetensors", bytes: one(`"dtype":"F31","shape":[1,2],"data_offsets":[0,8]`)},
		{name: "dtype-integer.safetensors", bytes: one(`"dtype":"I32","shape":[1,2],"data_offsets":[0,8]`)},
		{name: "dtype-not-string.safetensors", bytes: one(`"dtype":32,"shape":[1,2],"data_offsets":[0,8]`)},
		{name: "shape-negative.safetensors", bytes: one(`"dtype":"F32","shape":[-1,2],"data_offsets":[0,8]`)},
		{name: "shape-fraction.safetensors", bytes: one(`"dtype":"F32","shape":[1.0,2],"data_offsets":[0,8]`)},
		{name: "shape-overflow.safetensors", bytes: one(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]`)},
		{name: "shape-overflow-64.safetensors", bytes: one(`"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]`)},
		{name: "shape-rank.safetensors", bytes: one(`"dtype":"F32","shape":[2,1,1],"data_offsets":[0,8]`)},
		{name: "shape-zero.safetensors", bytes: st(`{"logits":{"dtype":"F32","shape":[0,2],"data_offsets":[0,0]}}`, 0)},
		{name: "offsets-one.safetensors", bytes: one(`"dtype":"F32","shape":[1,2],"data_offsets":[0]`)},
		{name: "offsets-reversed.safetensors", bytes: one(`"dtype":"F32","shape":[1,2],"data_offsets":[8,0]`)},
		{name: "offsets-other-size.safetensors", bytes: one(`"dtype":"F32","shape":[1,3],"data_offsets":[0,8]`)},
		{name: "data-cut.safetensors", bytes: st(`{"logits":{`+good+`}}`, 7)},
		{name: "data-trailing.safetensors", bytes: st(`{"logits":{`+good+`}}`, 9)},
		{name: "overlap.safetensors", bytes: two("[0,4]", "[2,6]", 6)},
		{name: "hole.safetensors", bytes: two("[0,4]", "[6,10]", 10)},
		{name: "hole-at-begin.safetensors", bytes: two("[2,6]", "[6,10]", 10)},
		{name: "metadata-number.safetensors", bytes: meta(`{"engine":1}`)},
		{name: "metadata-array.safetensors", bytes: meta(`[]`)},
		{name: "metadata-twice.safetensors", bytes: meta(`{"engine":"a","engine":"b"}`)},
		{name: "metadata-version.safetensors", bytes: meta(`{"paritygate":"2"}`)},
		{name: "tokens-no-array.safetensors", bytes: meta(`{"tokens":"1,2"}`)},
		{name: "tokens-negative.safetensors", bytes: meta(`{"tokens":"[1,-2]"}`)},
		{name: "tokens-large.safetensors", bytes: meta(`{"tokens":"[2147483648,1]"}`)},
		{name: "tokens-empty.safetensors", bytes: meta(`{"tokens":"[]"}`)},
		{name: "tokens-trailing.safetensors", bytes: meta(`{"tokens":"[1,2] x"}`)},
		{name: "tokens-few.safetensors", bytes: meta(`{"tokens":"[1]"}`)},
		{name: "positions-few.safetensors", bytes: meta(`{"positions":"[1]"}`)},
		{name: "positions-fall.safetensors", bytes: meta(`{"positions":"[2,1]"}`)},
		{name: "positions-twice.safetensors", bytes: meta(`{"positions":"[3,3]"}`)},
		{name: "positions-of-other.safetensors", bytes: meta(`{"positions:lm_head":"[1,2]"}`)},
		{name: "rows-differ.safetensors", bytes: st(`{"embd":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"logits":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]}}`, 12)},
		{name: "tokens-tensor-shape.safetensors", bytes: st(`{"tokens":{"dtype":"I32","shape":[2,1],"data_offsets":[0,8]}}`, 8)},
		{name: "tokens-tensor-negative.safetensors", bytes: append(st(`{"tokens":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}`, 0), 255, 255, 255, 255)},
		{name: "tokens-disagree.safetensors", bytes: st(`{"__metadata__":{"tokens":"[1]"},"tokens":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}`, 4)},
		{name: "names-collide.safetensors", bytes: named("embd", "[0,4]", "inp_embd", "[4,8]", 8)},
		{name: "name-empty.safetensors", bytes: st(`{"":{`+good+`}}`, 8)},
		{name: "unknown-content", bytes: []byte("hello, world")},
	}
}

// row is a line of a log with these values.
func row(values string) string {
	return `{"checkpoint":"logits","token_idx":0,"values":[` + values + "]}\n"
}

func badJSONL() []corpusFile {
	lines := func(l ...string) []byte { return []byte(strings.Join(l, "")) }
	keys := func(k string) []byte { return []byte(`{"checkpoint":"logits","token_idx":0,` + k + `,"values":[1]}`) }
	first := `{"checkpoint":"logits","token_idx":0,"values":[1,2]}` + "\n"
	return []corpusFile{
		{name: "only-blank.jsonl", bytes: []byte("\n \r\n")},
		{name: "half-row-in-keys.jsonl", bytes: lines(first, `{"checkpoint":"lo`)},
		{name: "half-row-in-values.jsonl", bytes: lines(first, `{"checkpoint":"logits","token_idx":1,"values":[1.5,2.`)},
		{name: "half-row-before-brace.jsonl", bytes: lines(first, `{"checkpoint":"logits","token_idx":1,"values":[1.5,2.5]`)},
		{name: "line-ends-in-values.jsonl", bytes: lines(`{"checkpoint":"logits","token_idx":1,"values":[1.5,`, "\n", first)},
		{name: "line-ends-in-keys.jsonl", bytes: lines(`{"checkpoint":"logits",`, "\n", first)},
		{name: "not-object.jsonl", bytes: lines(first, "[1,2]\n")},
		{name: "two-objects.jsonl", bytes: lines(`{"checkpoint":"logits","token_idx":0,"values":[1]} {}`)},
		{name: "no-checkpoint.jsonl", bytes: []byte(`{"token_idx":0,"values":[1]}`)},
		{name: "no-token-idx.jsonl", bytes: []byte(`{"checkpoint":"logits","values":[1]}`)},
		{name: "no-values.jsonl", bytes: []byte(`{"checkpoint":"logits","token_idx":0}`)},
		{name: "checkpoint-empty.jsonl", bytes: []byte(`{"checkpoint":"","token_idx":0,"values":[1]}`)},
		{name: "checkpoint-number.jsonl", bytes: []byte(`{"checkpoint":5,"token_idx":0,"values":[1]}`)},
		{name: "checkpoint-not-utf8.jsonl", bytes: []byte("{\"checkpoint\":\"\xff\",\"token_idx\":0,\"values\":[1]}")},
		{name: "key-twice.jsonl", bytes: keys(`"token_idx":1`)},
		{name: "token-idx-negative.jsonl", bytes: []byte(`{"checkpoint":"logits","token_idx":-1,"values":[1]}`)},
		{name: "token-idx-fraction.jsonl", bytes: []byte(`{"checkpoint":"logits","token_idx":1.5,"values":[1]}`)},
		{name: "token-id-large.jsonl", bytes: keys(`"token_id":4294967296`)},
		{name: "token-id-disagrees.jsonl", bytes: lines(`{"checkpoint":"a","token_idx":0,"token_id":1,"values":[1]}`, "\n", `{"checkpoint":"b","token_idx":0,"token_id":2,"values":[1]}`)},
		{name: "dtype-unknown.jsonl", bytes: keys(`"dtype":"int8"`)},
		{name: "dtype-changes.jsonl", bytes: lines(first, `{"checkpoint":"logits","token_idx":1,"dtype":"f16","values":[1,2]}`)},
		{name: "shape-text.jsonl", bytes: keys(`"shape":"1x2"`)},
		{name: "shape-empty.jsonl", bytes: keys(`"shape":[]`)},
		{name: "shape-rows.jsonl", bytes: keys(`"shape":"[2,4]"`)},
		{name: "shape-small.jsonl", bytes: []byte(`{"checkpoint":"logits","token_idx":0,"shape":"[1]","values":[1,2]}`)},
		{name: "shape-large.jsonl", bytes: keys(`"shape":"[16777217]"`)},
		{name: "shape-changes.jsonl", bytes: lines(first, `{"checkpoint":"logits","token_idx":1,"shape":"[3]","values":[1,2]}`)},
		{name: "row-twice.jsonl", bytes: lines(first, first)},
		{name: "engines-differ.jsonl", bytes: lines(`{"checkpoint":"logits","team":"a","token_idx":0,"values":[1]}`, "\n", `{"checkpoint":"logits","team":"b","token_idx":1,"values":[1]}`)},
		{name: "values-empty.jsonl", bytes: []byte(row(" "))},
		{name: "values-not-array.jsonl", bytes: []byte(`{"checkpoint":"logits","token_idx":0,"values":5}`)},
		{name: "value-word.jsonl", bytes: []byte(row("1,2,oops,4"))},
		{name: "value-string.jsonl", bytes: []byte(row(`1,"2"`))},
		{name: "value-missing.jsonl", bytes: []byte(row("1,,2"))},
		{name: "value-trailing-comma.jsonl", bytes: []byte(row("1,2,"))},
		{name: "value-nested.jsonl", bytes: []byte(row("1,[2"))},
		{name: "value-beyond-f32.jsonl", bytes: []byte(row("1,1e39"))},
		{name: "value-beyond-f16.jsonl", bytes: []byte(`{"checkpoint":"logits","token_idx":0,"dtype":"f16","values":[1,2,65520]}`)},
		{name: "value-long.jsonl", bytes: []byte(row("1." + strings.Repeat("3", 1100)))},
		{name: "keys-long.jsonl", bytes: []byte(`{"x":"` + strings.Repeat("y", maxKeys) + `","checkpoint":"logits"}`)},
		{name: "keys-deep.jsonl", bytes: keys(`"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70))},
		{name: "metadata-late.jsonl", bytes: lines(first, `{"metadata":{"engine":"e"}}`)},
		{name: "metadata-beside-row.jsonl", bytes: keys(`"metadata":{"engine":"e"}`)},
		{name: "metadata-positions.jsonl", bytes: lines(`{"metadata":{"positions":"[0]"}}`, "\n", first)},
		{name: "metadata-tokens.jsonl", bytes: lines(`{"metadata":{"tokens":["a"]}}`, "\n", first)},
		{name: "metadata-token-id.jsonl", bytes: lines(`{"metadata":{"tokens":[1]}}`, "\n", `{"checkpoint":"logits","token_idx":0,"token_id":2,"values":[1]}`)},
	}
}

func badNPY() []corpusFile {
	header := func(descr, shape string) []byte {
		return npy(1, "{'descr': "+descr+", 'fortran_order': False, 'shape': "+shape+"}", make([]byte, 8))
	}
	bomb := append(npyF4("(1, 2097152)"), make([]byte, 8<<20)...)
	stored := npz(zip.Store, "a.npy", npyF4("(1, 1)", 1))
	return []corpusFile{
		{name: "magic.npy", bytes: []byte("\x93NUMBY\x01\x00\x00\x00")},
		{name: "version.npy", bytes: npy(4, "{}", nil)},
		{name: "header-cut.npy", bytes: npyF4("(1, 1)")[:40]},
		{name: "header-over-bound.npy", bytes: append([]byte(npyMagic), 2, 0, 255, 255, 255, 255)},
		{name: "header-no-dict.npy", bytes: npy(1, "[]", nil)},
		{name: "header-key-missing.npy", bytes: npy(1, "{'descr': '<f4', 'shape': (1,)}", make([]byte, 4))},
		{name: "header-key-twice.npy", bytes: npy(1, "{'descr': '<f4', 'descr': '<f4'}", nil)},
		{name: "header-key-unknown.npy", bytes: npy(1, "{'dtype': '<f4'}", nil)},
		{name: "header-open-string.npy", bytes: npy(1, "{'descr", nil)},
		{name: "header-trailing.npy", bytes: npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", make([]byte, 4))},
		{name: "header-order.npy", bytes: npy(1, "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", make([]byte, 4))},
		{name: "bfloat16.npy", bytes: header("'<V2'", "(4,)")},
		{name: "big-endian.npy", bytes: header("'>f4'", "(2,)")},
		{name: "objects.npy", bytes: header("'|O'", "(1,)")},
		{name: "structured.npy", bytes: header("[('x', '<f4')]", "(2,)")},
		{name: "integers.npy", bytes: header("'<i4'", "(2,)")},
		{name: "fortran.npy", bytes: npy(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", make([]byte, 8))},
		{name: "shape-scalar.npy", bytes: header("'<f8'", "()")},
		{name: "shape-negative.npy", bytes: header("'<f4'", "(-2,)")},
		{name: "shape-rank.npy", bytes: header("'<f4'", "(2, 1, 1)")},
		{name: "shape-overflow.npy", bytes: header("'<f4'", "(4611686018427387904, 4)")},
		{name: "data-cut.npy", bytes: header("'<f4'", "(3,)")},
		{name: "data-trailing.npy", bytes: header("'<f4'", "(1,)")},
		{name: "no-entry.npz", bytes: npz(zip.Store)},
		{name: "no-directory.npz", bytes: stored[:len(stored)-30]},
		{name: "entry-text.npz", bytes: npz(zip.Store, "readme.txt", []byte("x"))},
		{name: "entry-twice.npz", bytes: npz(zip.Store, "x/a.npy", npyF4("(1,)", 1), "a.npy", npyF4("(1,)", 1))},
		{name: "entry-no-npy.npz", bytes: npz(zip.Store, "a.npy", []byte("x"))},
		{name: "entry-bomb.npz", bytes: npz(zip.Deflate, "a.npy", bomb)},
		{name: "rows-differ.npz", bytes: npz(zip.Store, "a.npy", npyF4("(1, 1)", 1), "b.npy", npyF4("(2, 1)", 1, 2))},
		{name: "positions-few.npz", bytes: npz(zip.Store, "a.npy", npyF4("(2, 1)", 1, 2), "positions.npy", npyI8(1))},
		{name: "positions-fall.npz", bytes: npz(zip.Store, "a.npy", npyF4("(2, 1)", 1, 2), "positions.npy", npyI8(2, 1))},
		{name: "tokens-differ.npz", bytes: npz(zip.Store, "a.npy", npyF4("(1, 1)", 1), "tokens.npy", npyI8(1), "input_ids.npy", npyI8(2))},
		{name: "crc.npz", bytes: flip(npz(zip.Deflate, "a.npy", npyF4("(1, 3)", 1, 2, 3)))},
	}
}

// flip damages the checksum that the archive's directory gives for its entry.
func flip(b []byte) []byte {
	b[bytes.Index(b, []byte("PK\x01\x02"))+16] ^= 1
	return b
}

func badFolders() []corpusFile {
	shard := func(metadata string, tensor string) []byte {
		return st(`{"__metadata__":{`+metadata+`},"logits":{`+tensor+`}}`, 8)
	}
	const wide, tall = `"dtype":"F32","shape":[1,2],"data_offsets":[0,8]`, `"dtype":"F32","shape":[2,1],"data_offsets":[0,8]`
	pair := func(a, b []byte) map[string][]byte { return map[string][]byte{"a.safetensors": a, "b.safetensors": b} }
	return []corpusFile{
		{name: "folder-empty", files: map[string][]byte{"notes.txt": []byte("x")}},
		{name: "folder-mixed", files: map[string][]byte{"a.safetensors": one(wide), "b.jsonl": []byte(row("1"))}},
		{name: "folder-content-mixed", files: pair(one(wide), []byte(row("1")))},
		{name: "folder-archives", files: map[string][]byte{"a.npz": npz(zip.Store), "b.npz": npz(zip.Store)}},
		{name: "shards-same-position", files: pair(one(wide), one(wide))},
		{name: "shards-other-width", files: pair(one(wide), one(tall))},
		{name: "shards-other-tokens", files: pair(shard(`"positions":"[0]","tokens":"[1,2]"`, wide), shard(`"positions":"[1]","tokens":"[1,3]"`, wide))},
		{name: "shards-other-engine", files: pair(shard(`"positions":"[0]","engine":"a"`, wide), shard(`"positions":"[1]","engine":"b"`, wide))},
		{name: "shards-other-name", files: pair(st(`{"embd":{`+wide+`}}`, 8), st(`{"inp_embd":{`+wide+`}}`, 8))},
		{name: "shards-row-twice", files: map[string][]byte{"a.jsonl": []byte(row("1")), "b.jsonl": []byte(row("2"))}},
	}
}
