package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rolecall/rolecall/test/inittrace"
)

// printInit lists the packages that allocate most before main.
func (c *comparison) printInit(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, path, "version") //nolint:gosec // what is measured is an argument of this program
	all, err := inittrace.Run(cmd)
	if err != nil {
		return err
	}
	bytes, allocations := inittrace.Total(all)
	slices.SortFunc(all, func(a, b inittrace.Package) int { return cmp.Compare(b.Bytes, a.Bytes) })
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nbefore main\tKB\tallocations\tms\n")
	fmt.Fprintf(table, "%d packages\t%.0f\t%d\t\n", len(all), float64(bytes)/1e3, allocations)
	for _, p := range all[:min(c.top, len(all))] {
		fmt.Fprintf(table, "%s\t%.0f\t%d\t%.2f\n", p.Path, float64(p.Bytes)/1e3, p.Allocations, p.Milliseconds)
	}
	return table.Flush()
}

// printModules lists the modules with the most code. A module's part of the file is
// reckoned by its part of the code: with a function go its tables of lines and
// frames, and the types that it uses, which make up half of the file and have no
// symbols.
func (c *comparison) printModules(size int64) error {
	info, err := buildinfo.ReadFile(c.symbols)
	if err != nil {
		return err
	}
	modules := []string{info.Main.Path}
	for _, one := range info.Deps {
		modules = append(modules, one.Path)
	}
	file, err := elf.Open(c.symbols)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	symbols, err := file.Symbols()
	if err != nil {
		return err
	}
	code, total := map[string]uint64{}, uint64(0)
	for i := range symbols {
		if elf.ST_TYPE(symbols[i].Info) == elf.STT_FUNC {
			code[moduleOf(modules, symbols[i].Name)] += symbols[i].Size
			total += symbols[i].Size
		}
	}
	names := slices.SortedFunc(maps.Keys(code), func(a, b string) int { return cmp.Compare(code[b], code[a]) })
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nmodule\tMB of the file\tMB of code\n")
	for _, name := range names[:min(c.top, len(names))] {
		fmt.Fprintf(
			table, "%s\t%.1f\t%.1f\n", name, megabytes(size)*float64(code[name])/float64(total),
			megabytes(int64(code[name])),
		) //nolint:gosec // sizes of a file
	}
	return table.Flush()
}

// moduleOf returns the module of a symbol, the longest that its package's path
// begins with.
func moduleOf(modules []string, symbol string) string {
	symbol = strings.TrimPrefix(strings.TrimPrefix(symbol, "type:.eq."), "type:.hash.")
	symbol, _, _ = strings.Cut(symbol, "[") // the type arguments of a generic function
	symbol = strings.ReplaceAll(symbol, "%2e", ".")
	longest := "the standard library"
	found := 0
	for _, module := range modules {
		rest, ok := strings.CutPrefix(symbol, module)
		if ok && len(module) > found && (strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, ".")) {
			longest, found = module, len(module)
		}
	}
	return longest
}
