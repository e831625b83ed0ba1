# Reads the JSON lines of the benchmarks and prints medians over rounds, shares of the measured peak, and ratios to the best of each peer.

function text(key,    at) {
    at = index($0, "\"" key "\": \"")
    return at ? substr($0, at + length(key) + 5, index(substr($0, at + length(key) + 5), "\"") - 1) : ""
}
function number(key,    at) {
    at = index($0, "\"" key "\": ")
    return at ? substr($0, at + length(key) + 4) + 0 : 0
}
function median(list,    n, i, j, v, t) {
    n = split(list, v, " ")
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j] + 0 < v[j - 1] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
    return v[int((n + 1) / 2)]
}

# MFLOP per image, multiplications and additions of convolutions and matrix products.
BEGIN {
    mflop["simplecnn inference"] = 2.72; mflop["simplecnn input-gradient"] = 5.45; mflop["simplecnn train"] = 8.06
    mflop["resnet20 inference"] = 81.6; mflop["resnet20 input-gradient"] = 163.2
    mflop["resnet50 inference"] = 8179; mflop["resnet50 input-gradient"] = 16357
}

{ bench = text("bench") }
bench == "peak" { peak = number("gflops_best") > peak ? number("gflops_best") : peak; isa = text("isa") }
bench == "engine" {
    key = text("network") " " text("workload") " " number("batch")
    if (!(key in ours)) order[++cases] = key
    ours[key] = ours[key] " " number("images_per_s")
    if (number("peak_mb") > mb[key]) mb[key] = number("peak_mb")
}
bench == "peers" {
    key = text("network") " " text("workload") " " number("batch") " " text("peer")
    if (number("images_per_s") > best[key]) best[key] = number("images_per_s")
}
bench == "precision" { lines[++found] = sprintf("%-34s %5d images: clean %.4f in f32, %.4f in bf16; %s eps %.4g: robust %.4f searched in f32, %.4f in bf16, in %.2f s and %.2f s", text("model"), number("count"), number("clean_f32"), number("clean_bf16"), text("attack"), number("eps"), number("robust_f32"), number("robust_bf16"), number("seconds_f32"), number("seconds_bf16")) }
bench == "load" { if (!(text("network") in load)) loads[++networks] = text("network"); load[text("network")] = load[text("network")] " " number("seconds") }
bench == "photos" {
    key = text("model")
    if (!(key in side)) photo[++photos] = key
    side[key] = number("side"); speed[key " " text("work")] = speed[key " " text("work")] " " number("images_per_s")
}
bench == "photos_torch" { loader[number("side")] = loader[number("side")] " " number("images_per_s") }
bench == "command" { step[++steps] = text("step"); seconds[text("step")] = number("seconds"); memory[text("step")] = number("peak_mb") }
bench == "tutorial" { keras[text("step")] = number("seconds") }

END {
    printf "\npeak %.0f GF/s (%s)\n\n%-30s %10s %7s %8s %10s %6s %12s %6s\n", peak, isa, "images/s", "parry", "of peak", "MB", "PyTorch", "ratio", "ONNX Runtime", "ratio"
    for (i = 1; i <= cases; i++) {
        key = order[i]
        split(key, part, " ")
        rate = median(ours[key])
        kind = part[2]
        half = sub(/-bf16$/, "", kind)
        flop = mflop[part[1] " " kind]
        printf "%-30s %10.1f %6.0f%% %8.0f", key, rate, peak ? 100 * rate * flop / (peak * 1000) : 0, mb[key]
        torch = best[key " pytorch"]; ort = best[key " onnxruntime"]
        if (torch) printf " %10.1f %6.2f", torch, rate / torch
        if (ort) printf " %12.1f %6.2f", ort, rate / ort
        if (half) printf " %.2f of f32", rate / median(ours[part[1] " " kind " " part[3]])
        print ""
    }
    print ""
    for (i = 1; i <= found; i++) print lines[i]
    if (found) print ""
    for (i = 1; i <= networks; i++)
        printf "%-30s %10.3f s\n", "load and predict " loads[i], median(load[loads[i]])
    for (i = 1; i <= photos; i++) {
        key = photo[i]
        load_rate = median(speed[key " load"]); network = median(speed[key " network"]); both = median(speed[key " both"])
        printf "%-30s photographs/s: %.0f loaded, %.0f by the network alone, %.0f both (%.2f of what one after the other gives)", key, load_rate, network, both, both * (1 / load_rate + 1 / network)
        if (side[key] in loader) printf "; torchvision loads %.0f, ratio %.2f", median(loader[side[key]]), load_rate / median(loader[side[key]])
        print ""
    }
    print ""
    keras["fgsm"] = keras["fgsm-single"]
    for (i = 1; i <= steps; i++) {
        s = step[i]
        printf "%-22s %10.3f s %8.1f MB", s, seconds[s], memory[s]
        if (keras[s]) printf "   Keras %8.2f s, ratio %.1f", keras[s], keras[s] / seconds[s]
        print ""
    }
    rest = keras["train"] + keras["fine-tune"]
    total = seconds["train"] + seconds["fgsm"] + seconds["fine-tune"]
    if (rest && total)
        printf "%-22s %10.3f s   Keras %.2f s image by image, ratio %.1f; %.2f s in batches, ratio %.1f\n", "story", total,
            rest + keras["fgsm-single"], (rest + keras["fgsm-single"]) / total, rest + keras["fgsm-batched"], (rest + keras["fgsm-batched"]) / total
}
