package protocol_test

import (
	"errors"
	"math"
	"syscall"
	"testing"

	"firetower/core/protocol"
)

// A body that does not fit the length field is refused by its size alone. These 2 GiB
// are addresses without memory behind them: one look at a byte ends the test.
func TestBodyThatDoesNotFitTheLengthFieldIsRefused(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		t.Skip("no slice is that long here")
	}
	body, err := syscall.Mmap(-1, 0, 1<<31, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Skipf("mmap: %v", err)
	}
	defer func() { _ = syscall.Munmap(body) }()
	line := len("publish 17 user t\n")
	for _, row := range []struct {
		name string
		size int
	}{
		{"one above the largest", math.MaxInt32 - line + 1},
		{"length field negative", 1 << 31},
	} {
		t.Run(row.name, func(t *testing.T) {
			dst := []byte("as it was")
			got, err := protocol.AppendPacket(dst, publish("t", body[:row.size]))
			if !errors.Is(err, protocol.ErrPacketTooLarge) || string(got) != "as it was" {
				t.Errorf("AppendPacket: %q, %v", got, err)
			}
			if b, err := protocol.Enpack(publish("t", body[:row.size])); !errors.Is(err, protocol.ErrPacketTooLarge) || b != nil {
				t.Errorf("Enpack: %d bytes, %v", len(b), err)
			}
		})
	}
}
