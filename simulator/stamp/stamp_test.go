package stamp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leanovate/gopter"
	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"
	"go.uber.org/goleak"

	"firetower/simulator/stamp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	example = stamp.Stamp{
		Run: 0x0123456789abcdef, Publisher: 0xbeef, Topic: 0x89abcdef, Phase: 2,
		Sequence: 42, Intended: 1_000_000_007, Actual: 1_000_001_234,
	}
	// golden pins the bytes: a publisher of yesterday must be read by the simulator of today. The checksum was computed
	// by another implementation.
	golden = `"FT10123456789abcdefbeef89abcdef02000000000000002a000000003b9aca07000000003b9aced2` +
		`9ea5bb7b....."`
)

func TestGoldenBytes(t *testing.T) {
	got := string(stamp.Append(nil, example, len(golden)))
	if got != golden {
		t.Errorf("Append =\n%s, want\n%s", got, golden)
	}
	s, err := stamp.Parse([]byte(golden))
	if err != nil || s != example {
		t.Errorf("Parse = %+v, %v", s, err)
	}
}

func TestAppendSizes(t *testing.T) {
	for _, size := range []int{-1, 0, 1, stamp.MinSize - 1, stamp.MinSize, stamp.MinSize + 1, 128, 4096, 65536} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			message := stamp.Append([]byte("before"), example, size)
			message, found := bytes.CutPrefix(message, []byte("before"))
			if !found {
				t.Fatal("what stood before is gone")
			}
			if want := max(size, stamp.MinSize); len(message) != want {
				t.Errorf("%d bytes, want %d", len(message), want)
			}
			var text string
			if err := json.Unmarshal(message, &text); err != nil || !utf8.Valid(message) {
				t.Errorf("no JSON string: %v", err)
			}
			if s, err := stamp.Parse(message); err != nil || s != example {
				t.Errorf("Parse = %+v, %v", s, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good := stamp.Append(nil, example, 128)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	tests := map[string]struct {
		message []byte
		want    error
	}{
		"nothing":                {nil, stamp.ErrMagic},
		"other text":             {[]byte(`"hello, world"`), stamp.ErrMagic},
		"other version":          {change(3, '2'), stamp.ErrMagic},
		"no first quote":         {change(0, ' '), stamp.ErrMagic},
		"magic alone":            {[]byte(stamp.Magic), stamp.ErrSize},
		"cut":                    {good[:len(good)-1], stamp.ErrSize},
		"cut to nothing":         {good[:stamp.MinSize-1], stamp.ErrSize},
		"no last quote":          {change(127, '.'), stamp.ErrSize},
		"upper-case digit":       {change(5, 'A'), stamp.ErrChecksum},
		"no digit at all":        {change(60, '/'), stamp.ErrChecksum},
		"byte above ASCII":       {change(60, 0xb0), stamp.ErrChecksum},
		"sum: upper-case digit":  {change(83, 'A'), stamp.ErrDigit},
		"sum: letter after f":    {change(84, 'g'), stamp.ErrDigit},
		"sum: before 0":          {change(85, '/'), stamp.ErrDigit},
		"sum: after 9":           {change(86, ':'), stamp.ErrDigit},
		"sum: before a":          {change(87, '`'), stamp.ErrDigit},
		"digit of the checksum":  {change(83, good[83]^1), stamp.ErrChecksum},
		"digit of the sequence":  {change(49, '1'), stamp.ErrChecksum},
		"padding":                {change(100, ','), stamp.ErrChecksum},
		"a byte of padding less": {append(bytes.Clone(good[:126]), '"'), stamp.ErrChecksum},
		"digit of the publisher": {change(20, 'a'), stamp.ErrChecksum},
		"digit of the phase":     {change(33, '3'), stamp.ErrChecksum},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := stamp.Parse(tt.message)
			if !errors.Is(err, tt.want) {
				t.Errorf("Parse: %v, want %v", err, tt.want)
			}
			if s != (stamp.Stamp{}) {
				t.Errorf("Parse = %+v with an error", s)
			}
		})
	}
}

// A CRC of 32 bits finds every single damaged byte.
func TestParseFindsEveryDamagedByte(t *testing.T) {
	good := stamp.Append(nil, example, 128)
	for at := range good {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			b := bytes.Clone(good)
			b[at] ^= flip
			if s, err := stamp.Parse(b); err == nil {
				t.Fatalf("byte %d flipped by %#x is accepted as %+v", at, flip, s)
			}
		}
	}
}

func TestFind(t *testing.T) {
	message := string(stamp.Append(nil, example, 100))
	tests := map[string]struct {
		frame string
		want  string
	}{
		"data alone":           {message, message},
		"v1 envelope":          {`{"type":"publish","topic":"t-1","data":` + message + `}`, message},
		"envelope cut":         {`{"type":"publish","topic":"t-1","data":` + message, ""},
		"data is not the last": {`{"data":` + message + `,"type":"publish"}`, message + `,"type":"publish"`},
		"other data":           {`{"type":"publish","topic":"t-1","data":"hello"}`, ""},
		"empty":                {"", ""},
		"heartbeat":            {"heartbeat", ""},
		"mark in the topic":    {`{"type":"publish","topic":"FT1","data":` + message + `}`, message},
		"marks in the topic":   {`{"type":"publish","topic":"FT1FT1\"FT1","data":` + message + `}`, message},
		"mark without data":    {`FT1FT1`, ""},
		"mark in other data":   {`{"type":"publish","topic":"t","data":"xFT1"}`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := string(stamp.Find([]byte(tt.frame))); got != tt.want {
				t.Errorf("Find = %q, want %q", got, tt.want)
			}
		})
	}
	// What Find takes for data without its being so is refused by Parse.
	if _, err := stamp.Parse([]byte(tests["data is not the last"].want)); err == nil {
		t.Error("data that is followed by another field parses")
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	buffer := make([]byte, 0, 256)
	if got := testing.AllocsPerRun(1000, func() { buffer = stamp.Append(buffer[:0], example, 128) }); got != 0 {
		t.Errorf("Append: %v allocations", got)
	}
	frame := []byte(`{"type":"publish","topic":"t","data":` + string(buffer) + `}`)
	if got := testing.AllocsPerRun(1000, func() {
		if _, err := stamp.Parse(stamp.Find(frame)); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("Find and Parse: %v allocations", got)
	}
	bad := bytes.Clone(buffer)
	bad[50] ^= 1
	if got := testing.AllocsPerRun(1000, func() { _, _ = stamp.Parse(bad) }); got != 0 {
		t.Errorf("Parse of a damaged message: %v allocations", got)
	}
}

// properties runs one property with a printed seed, which FIRETOWER_PROP_SEED repeats.
func properties(t *testing.T, name string, p gopter.Prop) {
	t.Helper()
	seed := time.Now().UnixNano()
	if text := os.Getenv("FIRETOWER_PROP_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("FIRETOWER_PROP_SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	parameters := gopter.DefaultTestParametersWithSeed(seed)
	parameters.MinSuccessfulTests = 500
	all := gopter.NewProperties(parameters)
	all.Property(name, p)
	all.TestingRun(t)
}

// boundaries mixes the edges of a field with any value: uniform numbers practically never are small.
func boundaries(highest uint64) gopter.Gen {
	return gen.OneGenOf(gen.UInt64Range(0, highest), gen.UInt64Range(0, 16),
		gen.OneConstOf(uint64(0), uint64(1), highest/2, highest-1, highest))
}

func TestPropertyRoundTrip(t *testing.T) {
	properties(t, "Parse(Append(s)) is s at any size", prop.ForAll(
		func(run, publisher, topic, phase, sequence, intended, actual uint64, size int) string {
			s := stamp.Stamp{
				Run: run, Publisher: uint16(publisher), Topic: uint32(topic), Phase: uint8(phase),
				Sequence: sequence, Intended: int64(intended), Actual: int64(actual),
			}
			back, err := stamp.Parse(stamp.Append(nil, s, size))
			if err != nil || back != s {
				return fmt.Sprintf("%+v, %v", back, err)
			}
			return ""
		},
		boundaries(math.MaxUint64), boundaries(math.MaxUint16), boundaries(math.MaxUint32), boundaries(math.MaxUint8),
		boundaries(math.MaxUint64), boundaries(math.MaxUint64), boundaries(math.MaxUint64),
		gen.OneGenOf(gen.IntRange(0, 200), gen.IntRange(200, 8192)),
	))
}

func TestPropertyGarbageIsRefused(t *testing.T) {
	properties(t, "random bytes behind the magic are refused without a panic", prop.ForAll(
		func(garbage []byte) (problem string) {
			defer func() {
				if r := recover(); r != nil {
					problem = fmt.Sprintf("panic: %v", r)
				}
			}()
			message := append([]byte(stamp.Magic), garbage...)
			message = append(message, '"')
			if s, err := stamp.Parse(message); err == nil {
				return fmt.Sprintf("accepted as %+v", s)
			}
			return ""
		},
		gen.IntRange(0, 400).FlatMap(func(n any) gopter.Gen {
			size, _ := n.(int)
			return gen.SliceOfN(size, gen.UInt8())
		}, nil),
	))
}

func FuzzParse(f *testing.F) {
	f.Add(stamp.Append(nil, example, 128))
	f.Add(stamp.Append(nil, stamp.Stamp{}, 0))
	f.Add([]byte(golden))
	f.Add([]byte(stamp.Magic))
	f.Add([]byte(`{"type":"publish","topic":"t","data":` + golden + `}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		message := stamp.Find(frame)
		s, err := stamp.Parse(message)
		if err != nil {
			return
		}
		// What parses is what Append writes, but for the padding, which the checksum covers too.
		again := stamp.Append(nil, s, len(message))
		if back, err := stamp.Parse(again); err != nil || back != s {
			t.Errorf("%q parses as %+v, which is written as %q and parses as %+v, %v", message, s, again, back, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	message := stamp.Append(nil, example, 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stamp.Parse(message); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	buffer := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		buffer = stamp.Append(buffer[:0], example, 128)
	}
}
