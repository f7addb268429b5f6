package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/paritygate/paritygate/gate"
)

// Version is the version of results.json that this package reads and writes.
const Version = 1

// JSON writes results.json: indented by two spaces, metric keys sorted, lists
// never null. The same result gives the same bytes, and reading them with Read
// and writing them again changes nothing. NaN and infinities are the strings
// "NaN", "+Inf" and "-Inf".
func JSON(w io.Writer, r *gate.Result) error {
	if r.Version != Version {
		return fmt.Errorf("results version %d: this program writes %d", r.Version, Version)
	}
	v := plainCopy(reflect.ValueOf(*r)).Interface()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	// A log line of GitHub Actions that holds "##[" anywhere is a command to the
	// runner. In JSON it can only stand in a string, where # has another spelling.
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte("##["), []byte(`#\u0023[`)))
	return err
}

// plainCopy returns a copy of v in which no slice and no map is nil, so that
// readers of the JSON need not tell null from empty, and all text is UTF-8.
func plainCopy(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		// What is not UTF-8 is replaced here, byte by byte as readers will see it:
		// encoding/json would spell the replacement in a way it does not write again.
		c := reflect.New(v.Type()).Elem()
		c.SetString(string([]rune(v.String())))
		return c
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			c.Field(i).Set(plainCopy(v.Field(i)))
		}
		return c
	case reflect.Slice:
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(plainCopy(v.Index(i)))
		}
		return c
	case reflect.Map:
		c := reflect.MakeMap(v.Type())
		for _, k := range v.MapKeys() {
			c.SetMapIndex(plainCopy(k), v.MapIndex(k))
		}
		return c
	case reflect.Pointer:
		if !v.IsNil() {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(plainCopy(v.Elem()))
			return c
		}
	}
	return v
}
