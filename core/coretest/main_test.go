package coretest_test

import (
	"testing"

	"go.uber.org/goleak"

	"firetower/core/coretest"
)

func TestMain(m *testing.M) {
	coretest.RunChild()
	goleak.VerifyTestMain(m)
}
