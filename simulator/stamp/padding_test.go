package stamp_test

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"strconv"
	"testing"

	"firetower/simulator/stamp"
)

// Every padding makes a message of the asked size that is a JSON string, is found and read, and
// compresses to what it is there for.
func TestPaddings(t *testing.T) {
	for name, row := range map[string]struct {
		padding     stamp.Padding
		least, most int // what is left of 1 KiB, in percent
	}{
		"dots":    {stamp.Dots, 0, 15},
		"records": {stamp.Records, 25, 50},
		"noise":   {stamp.Noise, 75, 100},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, stamp.MinSize, stamp.MinSize + 1, 100, 128, 1024, 5000} {
				t.Run(strconv.Itoa(size), func(t *testing.T) {
					m := stamp.AppendPadded(nil, example, size, row.padding)
					if len(m) != max(size, stamp.MinSize) {
						t.Errorf("%d bytes", len(m))
					}
					var text string
					if err := json.Unmarshal(m, &text); err != nil || len(text) != len(m)-2 {
						t.Errorf("no JSON string without escapes: %v", err)
					}
					frame := []byte(`{"type":"publish","topic":"a","data":` + string(m) + `}`)
					if found := stamp.Find(frame); !bytes.Equal(found, m) {
						t.Errorf("found %q", found)
					}
					if got, err := stamp.Parse(m); err != nil || got != example {
						t.Errorf("got %+v, %v", got, err)
					}
				})
			}
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, 6)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(stamp.AppendPadded(nil, example, 1024, row.padding))
			_ = w.Close()
			if left := 100 * b.Len() / 1024; left < row.least || left > row.most {
				t.Errorf("%d %% are left, want %d to %d", left, row.least, row.most)
			}
			next := example
			next.Sequence++
			a, other := stamp.AppendPadded(nil, example, 1024, row.padding), stamp.AppendPadded(nil, next, 1024, row.padding)
			if same := bytes.Equal(a[100:], other[100:]); same != (row.padding == stamp.Dots) {
				t.Errorf("the padding of two messages is the same: %v", same)
			}
			buf := make([]byte, 0, 2048) // records are cut from whole ones
			if n := testing.AllocsPerRun(100, func() { buf = stamp.AppendPadded(buf[:0], example, 1024, row.padding) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
