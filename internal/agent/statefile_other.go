//go:build !linux

package agent

import "github.com/rolecall/rolecall/internal/fault"

func stateVolatile(string) error {
	return fault.New(fault.Usage, "a state file is possible on Linux only")
}

func readState(file string) ([]byte, error) { return nil, stateVolatile(file) }

func writeState(file string, _ []byte) error { return stateVolatile(file) }
